"""The command line: one subcommand per stage, and the whole flow as `run`.

Exit codes: 0 done, 1 a quality gate failed, 2 something has to be changed by the user, 130 interrupted and resumable.
Every import beyond typer happens inside a command, so that `--help` answers at once.
"""

from __future__ import annotations

import functools
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ParamSpec

import typer

from hrlaif import cli_annotate, cli_calibrate, cli_handoff, cli_seeds
from hrlaif.cli_options import Json, JudgeModel, JudgeUrl, RunFolder

if TYPE_CHECKING:
    from hrlaif.config import Config
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

Parameters = ParamSpec("Parameters")
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
    arms: Annotated[str, typer.Option(help="Comma-separated: rlaif, hrlaif, human.")] = "",
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


JUDGED = ("label", "red-team", "evaluate")
STAGE_COMMANDS = {
    "sft": "Fine-tune the starting policy (where sft.sources are set).",
    "sample": "Load the prompts and draw the training responses.",
    "label": "Calibrate the judge, check final answers, label the arms.",
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
def compare(
    folders: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Run folders.")],
    out: Annotated[
        str, typer.Option(metavar="FOLDER", help="Write a page (HTML, Markdown, figures, JSON) there instead.")
    ] = "",
) -> None:
    """Show arms and runs side by side, and a mean of runs."""
    from hrlaif import storage
    from hrlaif.errors import ConfigError
    from hrlaif.evaluation import compare_runs, mean_table, means_of_folders, read_summaries

    if storage.is_url(out):
        raise ConfigError(f"--out {out}: the page links to the runs' files, so it needs a folder of this machine.")
    summaries = read_summaries(folders)
    means = means_of_folders(folders)
    if out:
        from hrlaif import report

        page = report.compare(dict(zip(summaries, folders, strict=True)), summaries, means, Path(out))
        print(f"Comparison: {page}")
        return
    _print_table(compare_runs(summaries))
    if means:
        _print_table(mean_table(means, runs=len(folders)))


cli_handoff.add_to(app, _reported)
cli_seeds.add_to(app, _reported, _print_table)
cli_annotate.add_to(app, _reported)
cli_calibrate.add_to(app, _reported, _print_table, _with_judge, _tell)


if __name__ == "__main__":
    main()
