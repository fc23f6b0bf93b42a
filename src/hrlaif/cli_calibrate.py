"""The commands that measure verifiers and judges on labelled rows."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hrlaif.cli_options import Json, JudgeModel, JudgeUrl

if TYPE_CHECKING:
    from hrlaif.config import Config, EndpointSection, JudgeSection
    from hrlaif.judges.panel import Panel

Command = Callable[..., None]
MOST_COLUMNS = 8


def add_to(
    app: typer.Typer,
    reported: Callable[[Command], Command],
    print_table: Callable[[list[list[str]]], None],
    with_judge: Callable[[Config, str, str], Config],
    tell: Callable[[str], None],
) -> None:
    """Add `calibrate` to the command line; `reported` turns errors into messages and exit codes."""
    calibrate_app = typer.Typer(
        no_args_is_help=True, rich_markup_mode=None, help="How good a verifier or a judge is on labelled rows."
    )

    def show(found: dict[str, Any], *, as_json: bool) -> None:
        if as_json:
            print(json.dumps(found))
        else:
            for rows in _tables(found):
                print_table(rows)

    calibrate_app.command("verifier")(reported(_verifier(show)))
    calibrate_app.command("judge")(reported(_judge(show, with_judge, tell)))
    calibrate_app.command("harm")(reported(_harm(show, with_judge, tell)))
    app.add_typer(calibrate_app, name="calibrate")


def _verifier(show: Callable[..., None]) -> Command:
    def command(
        file: Annotated[Path, typer.Argument(help="Rows of the schema `verify` (JSONL).")], as_json: Json = False
    ) -> None:
        """Accuracy, precision and recall of the rule verifiers on labelled responses."""
        from hrlaif.verifiers import calibrate

        show(calibrate(file), as_json=as_json)

    return command


def _judge(
    show: Callable[..., None], with_judge: Callable[[Config, str, str], Config], tell: Callable[[str], None]
) -> Command:
    def command(
        file: Annotated[Path, typer.Argument(help="Rows of the schema `pair` (JSONL).")],
        out: Annotated[Path, typer.Option(help="Where to write one Label per row.")] = Path("calibration_labels.jsonl"),
        config: Annotated[
            Path | None, typer.Option(help="Measure the judge or panel of this configuration.", show_default=False)
        ] = None,
        judge_url: JudgeUrl = "",
        judge_model: JudgeModel = "",
        as_json: Json = False,
    ) -> None:
        """Agreement, kappa, flip rate and position bias of the judge on pairs whose better response is known."""
        from hrlaif import config as configuration
        from hrlaif.judges.calibrate import calibrate
        from hrlaif.prompts import read_calibration

        pairs = read_calibration(file)
        loaded = configuration.load(config) if config else configuration.Config()
        section = with_judge(loaded, judge_url, judge_model).judge
        with _panel(section, out.with_name(out.name + ".calls.sqlite"), tell) as panel:
            found = calibrate(pairs, panel, out=out, tie_margin=loaded.labels.tie_margin if config else 0.0)
        show(found, as_json=as_json)

    return command


def _harm(
    show: Callable[..., None], with_judge: Callable[[Config, str, str], Config], tell: Callable[[str], None]
) -> Command:
    def command(
        file: Annotated[Path, typer.Argument(help="Rows of the schema `harm` (JSONL).")],
        calls: Annotated[Path, typer.Option(help="Where paid calls are kept.")] = Path("calibration_harm.calls.sqlite"),
        out: Annotated[
            Path | None, typer.Option(help="A file for evaluation.harm_calibration of a run.", show_default=False)
        ] = None,
        judge_url: JudgeUrl = "",
        judge_model: JudgeModel = "",
        as_json: Json = False,
    ) -> None:
        """Accuracy of the harm and refusal judge on labelled responses."""
        from hrlaif.artifacts import write_json
        from hrlaif.config import Config
        from hrlaif.judges.calibrate_harm import calibrate

        with _panel(with_judge(Config(), judge_url, judge_model).judge, calls, tell) as panel:
            found = calibrate(file, panel.judges[0].model)
        if out is not None:
            write_json(out, found)
        show(found, as_json=as_json)

    return command


@contextmanager
def _panel(section: JudgeSection, calls: Path, tell: Callable[[str], None]) -> Iterator[Panel]:
    """Who compares under a configuration; the calls are kept in a ledger beside the output."""
    from hrlaif.judges.panel import seat
    from hrlaif.models.ledger import Ledger
    from hrlaif.run import judging, needs_extra

    with ExitStack() as stack:

        @functools.cache
        def bundled_model() -> EndpointSection:
            tell("judge: no endpoint is set, so the bundled 135M model judges; expect it to be near chance")
            with needs_extra("bundled"):
                from hrlaif.models import bundled
            return stack.enter_context(bundled.serve())

        def served(endpoint: EndpointSection) -> EndpointSection:
            return endpoint if endpoint.url else bundled_model()

        ledger = stack.enter_context(Ledger(calls))
        yield seat(section, judging(ledger, budget_usd=section.budget_usd, served=served))


def _tables(found: dict[str, Any]) -> Iterator[list[list[str]]]:
    """What was measured as one table, and one for each part that is a table itself."""
    flat = {key: value for key, value in found.items() if not isinstance(value, dict)}
    yield [["", ""], *[[key, _shown(value)] for key, value in flat.items()]]
    for key, parts in found.items():
        if isinstance(parts, dict):
            columns = list(dict.fromkeys(name for part in parts.values() if isinstance(part, dict) for name in part))
            rows = [[key, *columns]]
            rows += [[name, *[_shown(part.get(column)) for column in columns]] for name, part in parts.items()]
            yield rows if len(columns) <= MOST_COLUMNS else [list(column) for column in zip(*rows, strict=True)]


def _shown(value: object) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)
