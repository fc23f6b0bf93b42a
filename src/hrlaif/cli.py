"""The command line: one subcommand per stage, and the whole flow as `run`.

Exit codes: 0 done, 1 a quality gate failed, 2 something has to be changed by the user, 130 interrupted and resumable.
Every import beyond typer happens inside a command, so that `--help` answers at once.
"""

from __future__ import annotations

import functools
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ParamSpec

import typer

from hrlaif import cli_annotate, cli_handoff, cli_seeds

if TYPE_CHECKING:
    from hrlaif.config import Config, EndpointSection, JudgeSection
    from hrlaif.judges.panel import Panel
    from hrlaif.models.base import ChatModel
    from hrlaif.plan import Step
    from hrlaif.run import Run

app = typer.Typer(
    name="hrlaif",
    help="Align a language model with AI feedback, without losing correctness.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    # Rich help would take half of the time that `--help` takes.
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
calibrate_app = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="How good a verifier or a judge is on labelled rows."
)
app.add_typer(calibrate_app, name="calibrate")

Parameters = ParamSpec("Parameters")
JudgeUrl = Annotated[str, typer.Option(help="OpenAI-compatible endpoint of the judge, e.g. http://127.0.0.1:8000/v1.")]
JudgeModel = Annotated[str, typer.Option(help="Name of the model that the endpoint serves.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output and nothing else there.")]
RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.", show_default=False)]
Set = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override one key; repeatable.")]


def main() -> None:
    """Entry point of the `hrlaif` command; of several processes (`torchrun`) the first runs it, the others help."""
    if int(os.environ.get("WORLD_SIZE") or "1") == 1:
        app()
        return
    from hrlaif import make, work

    work.together(app, make.TRAININGS)


def follow() -> None:
    """Entry point of the processes that `hrlaif` starts itself (`processes` in the configuration)."""
    from hrlaif import make, work

    work.follow(make.TRAININGS, tell=None)


def _reported(command: Callable[Parameters, None]) -> Callable[Parameters, None]:
    """Errors that we raise, a full disk and Ctrl-C become one clear message and the right exit code."""

    @functools.wraps(command)
    def wrapped(*args: Parameters.args, **kwargs: Parameters.kwargs) -> None:
        from hrlaif.errors import HrlaifError

        try:
            command(*args, **kwargs)
        except HrlaifError as error:
            _tell(f"error: {error}")
            raise typer.Exit(error.exit_code) from error
        except OSError as error:
            where = f"{error.filename}: " if error.filename else ""
            _tell(f"error: {where}{error.strerror or error}. Nothing finished is lost: mend it and run the same again.")
            raise typer.Exit(2) from error
        except KeyboardInterrupt as error:
            _tell("interrupted: run the same command again to continue where it stopped")
            raise typer.Exit(130) from error

    return wrapped


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _with_judge(config: Config, url: str, model: str) -> Config:
    """The configuration with the judge of the command line, validated like one from the file."""
    if not (url or model):
        return config
    from hrlaif import config as configuration

    values = config.model_dump(mode="json", exclude_none=True)
    values["judge"] |= {key: value for key, value in (("url", url), ("model", model)) if value}
    return configuration.parse(values, where="--judge-url, --judge-model")


@app.command()
@_reported
def init(folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where to write them.")]) -> None:
    """Write a commented configuration and a few sample prompts."""
    from hrlaif.prompts import write_starter

    for path in write_starter(folder):
        print(path)
    _tell(f"Next: hrlaif run {folder / 'config.toml'}")


@app.command()
@_reported
def run(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="A configuration file (TOML).", show_default=False)],
    settings: Set = None,
    arms: Annotated[str, typer.Option(help="Comma-separated: rlaif, hrlaif, or both.")] = "",
    judge_url: JudgeUrl = "",
    judge_model: JudgeModel = "",
    as_json: Json = False,
) -> None:
    """Run the whole flow; one that was stopped continues."""
    from hrlaif import config as configuration
    from hrlaif import pipeline
    from hrlaif.plan import plan
    from hrlaif.run import Run

    chosen = [f"arms={json.dumps([arm.strip() for arm in arms.split(',')])}"] if arms else []
    loaded = _with_judge(configuration.load(config, [*(settings or []), *chosen]), judge_url, judge_model)
    with Run(loaded) as opened:
        _execute(opened, plan(pipeline.STAGES, loaded))
        _show_results(opened, as_json=as_json)


@app.command()
@_reported
def estimate(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="A configuration file (TOML).", show_default=False)],
    settings: Set = None,
    assume: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=SHARE", help="What policy and judge do, e.g. right=0.8; repeatable."),
    ] = None,
    latency_s: Annotated[
        float | None, typer.Option(min=0, help="Seconds per call (default: as recorded in the run folder, else 1).")
    ] = None,
    tokenizer: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Count tokens with the tokenizer.json in this folder.")
    ] = None,
    judge_url: JudgeUrl = "",
    judge_model: JudgeModel = "",
    as_json: Json = False,
) -> None:
    """Show what a run will ask, cost and take, by stage."""
    from hrlaif import config as configuration
    from hrlaif import estimate as estimating

    loaded = _with_judge(configuration.load(config, settings or []), judge_url, judge_model)
    assumed = estimating.parse_assumptions(assume or [])
    found = estimating.estimate(loaded, assumed=assumed, latency_s=latency_s, tokenizer=tokenizer)
    if as_json:
        print(json.dumps(found))
        return
    _print_table(estimating.table(found))
    for line in estimating.remarks(found):
        print(line)


def _execute(run: Run, steps: list[Step], *, anew: bool = False) -> None:
    from hrlaif.plan import execute

    if not run.config.judge.url and any(step.command in JUDGED for step in steps):
        _tell(f"judge: no endpoint is set, so the bundled 135M model judges; {run.folder}/calibration.json: how well")
    execute(run, steps, tell=_tell, anew=anew)


def _show_results(run: Run, *, as_json: bool) -> None:
    from hrlaif.artifacts import read_json
    from hrlaif.evaluation import table

    summary = read_json(run.folder / "metrics.json")
    report = run.folder / "report.html"
    if as_json:
        print(json.dumps({"report": str(report), **summary}))
        return
    _print_table(table(summary))
    print(f"Report: {report}")


def _print_table(rows: list[list[str]]) -> None:
    from rich.console import Console
    from rich.table import Table

    header, *body = rows
    shown = Table(*header, box=None, pad_edge=False)
    for row in body:
        shown.add_row(*row)
    console = Console()
    # A table that is piped into a file has no terminal whose width it must fit.
    (console if console.is_terminal else Console(width=200)).print(shown)


MOST_COLUMNS = 8
JUDGED = ("label", "red-team", "evaluate")
STAGE_COMMANDS = {
    "sft": "Fine-tune the starting policy (where sft.sources are set).",
    "sample": "Load the prompts and draw the training responses.",
    "label": "Calibrate the judge, check final answers, label both arms.",
    "red-team": "Attack the policy, judge its answers, rewrite harmful ones.",
    "pairs": "Turn labels and red-team cases into preference pairs.",
    "reward": "Train the reward models.",
    "policy": "Train the policies with PPO.",
    "evaluate": "Answer the evaluation prompts with start and arms; measure.",
    "report": "Write report.html, report.md and the figures.",
}


def _stage_command(name: str, summary: str) -> None:
    @app.command(name, help=summary)
    @_reported
    def command(folder: RunFolder, judge_url: JudgeUrl = "", judge_model: JudgeModel = "") -> None:
        from hrlaif.run import open_folder

        _run_stage(name, _with_judge(open_folder(folder).config, judge_url, judge_model))


def _run_stage(name: str, config: Config, *, show_harmful: bool = False) -> None:
    """The steps of one command in a run folder; a report that shows harmful texts is written whatever is there."""
    from hrlaif import pipeline
    from hrlaif.errors import ConfigError
    from hrlaif.plan import plan
    from hrlaif.run import Run

    steps = [step for step in plan(pipeline.STAGES, config) if step.command == name]
    if not steps:
        raise ConfigError(f"{Path(config.run_dir) / 'config.toml'}: the configuration leaves this stage out.")
    with Run(config, show_harmful=show_harmful) as opened:
        _execute(opened, steps, anew=show_harmful)


for _name, _summary in STAGE_COMMANDS.items():
    if _name != "report":
        _stage_command(_name, _summary)


@app.command(help=STAGE_COMMANDS["report"])
@_reported
def report(
    folder: RunFolder,
    show_harmful: Annotated[
        bool, typer.Option("--show-harmful", help="Show the texts of attacks and harmful answers, this once.")
    ] = False,
    judge_url: JudgeUrl = "",
    judge_model: JudgeModel = "",
) -> None:
    """Write the report, with harmful texts only where they are asked for."""
    from hrlaif.run import open_folder

    config = _with_judge(open_folder(folder).config, judge_url, judge_model)
    _run_stage("report", config, show_harmful=show_harmful)


@app.command()
@_reported
def compare(folders: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Run folders.")]) -> None:
    """Show arms and runs side by side."""
    from hrlaif.artifacts import read_json
    from hrlaif.evaluation import compare_runs

    names = {folder.resolve().name for folder in folders}
    titles = [folder.resolve().name if len(names) == len(folders) else str(folder) for folder in folders]
    summaries = [read_json(folder / "metrics.json") for folder in folders]
    _print_table(compare_runs(dict(zip(titles, summaries, strict=True))))


cli_handoff.add_to(app, _reported)
cli_seeds.add_to(app, _reported, _print_table)
cli_annotate.add_to(app, _reported)


@calibrate_app.command("verifier")
@_reported
def calibrate_verifier(
    file: Annotated[Path, typer.Argument(help="Rows of the schema `verify` (JSONL).")], as_json: Json = False
) -> None:
    """Accuracy, precision and recall of the rule verifiers on labelled responses."""
    from hrlaif.verifiers import calibrate

    _show_quality(calibrate(file), as_json=as_json)


@calibrate_app.command("judge")
@_reported
def calibrate_judge(
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
    section = _with_judge(loaded, judge_url, judge_model).judge
    with _panel(section, out.with_name(out.name + ".calls.sqlite")) as panel:
        found = calibrate(pairs, panel, out=out, tie_margin=loaded.labels.tie_margin if config else 0.0)
    _show_quality(found, as_json=as_json)


@calibrate_app.command("harm")
@_reported
def calibrate_harm(
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
    from hrlaif.judges.calibrate_harm import calibrate

    with _judge(judge_url, judge_model, calls) as judge:
        found = calibrate(file, judge)
    if out is not None:
        write_json(out, found)
    _show_quality(found, as_json=as_json)


@contextmanager
def _judge(url: str, model: str, calls: Path) -> Iterator[ChatModel]:
    """The judge named on the command line, or the bundled one; its calls are kept in a ledger beside the output."""
    from hrlaif.config import Config

    with _panel(_with_judge(Config(), url, model).judge, calls) as panel:
        yield panel.judges[0].model


@contextmanager
def _panel(section: JudgeSection, calls: Path) -> Iterator[Panel]:
    """Who compares under a configuration; the calls are kept in a ledger beside the output."""
    from hrlaif.judges.panel import seat
    from hrlaif.models.ledger import Ledger
    from hrlaif.run import judging, needs_extra

    with ExitStack() as stack:

        @functools.cache
        def bundled_model() -> EndpointSection:
            _tell("judge: no endpoint is set, so the bundled 135M model judges; expect it to be near chance")
            with needs_extra("bundled"):
                from hrlaif.models import bundled
            return stack.enter_context(bundled.serve())

        def served(endpoint: EndpointSection) -> EndpointSection:
            return endpoint if endpoint.url else bundled_model()

        ledger = stack.enter_context(Ledger(calls))
        yield seat(section, judging(ledger, budget_usd=section.budget_usd, served=served))


def _show_quality(found: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(found))
        return
    flat = {key: value for key, value in found.items() if not isinstance(value, dict)}
    _print_table([["", ""], *[[key, _shown(value)] for key, value in flat.items()]])
    for key, parts in found.items():
        if isinstance(parts, dict):
            columns = list(dict.fromkeys(name for part in parts.values() if isinstance(part, dict) for name in part))
            rows = [[key, *columns]]
            rows += [[name, *[_shown(part.get(column)) for column in columns]] for name, part in parts.items()]
            _print_table(rows if len(columns) <= MOST_COLUMNS else [list(column) for column in zip(*rows, strict=True)])


def _shown(value: object) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    main()
