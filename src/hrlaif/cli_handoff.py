"""The commands that hand a run over to a larger trainer: its files, and its reward model behind HTTP."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, cast

import typer

from hrlaif.cli_options import RunFolder

Command = Callable[..., None]
ArmName = Annotated[str, typer.Option(help="rlaif, hrlaif or human.")]
Out = Annotated[Path, typer.Option(metavar="DIR", help="A new or empty folder.", show_default=False)]
TITLES = {
    "trl": "Files for TRL: preference pairs, prompts, settings of reward model, DPO and RLOO.",
    "openrlhf": "Files for OpenRLHF: preference pairs, prompts, scripts for reward model and PPO.",
    "verl": "Files for verl: Parquet prompts, a PPO script, the reward function.",
}
MODELS = {
    "policy": "An arm's policy with a whole model card, to publish.",
    "reward": "An arm's reward model with a whole model card, to publish.",
}


def add_to(app: typer.Typer, reported: Callable[[Command], Command]) -> None:
    """Add `export` and `serve-reward` to the command line; `reported` turns errors into messages and exit codes."""
    export_app = typer.Typer(
        no_args_is_help=True,
        rich_markup_mode=None,
        help="Write a run for TRL, OpenRLHF or verl, or its models.",
    )
    for engine, title in TITLES.items():
        export_app.command(engine, help=title)(reported(_export(engine)))
    for part, title in MODELS.items():
        export_app.command(part, help=title)(reported(_export_model(part)))
    app.add_typer(export_app, name="export")
    app.command("serve-reward")(reported(serve_reward))


def _export(engine: str) -> Command:
    def command(
        folder: RunFolder,
        out: Out,
        arm: ArmName = "hrlaif",
        with_red_team: Annotated[
            bool, typer.Option("--with-red-team", help="Include red-team prompts and pairs: harmful texts.")
        ] = False,
    ) -> None:
        from hrlaif.handoff import export
        from hrlaif.run import open_folder

        config = open_folder(folder).config
        made = export(folder, config, engine=engine, arm=cast("Any", arm), out=out, with_red_team=with_red_team)
        print(made)
        print(f"Next: read {made / 'README.md'}", file=sys.stderr)

    return command


def _export_model(part: str) -> Command:
    def command(folder: RunFolder, out: Out, arm: ArmName = "hrlaif") -> None:
        from hrlaif.handoff import export_model
        from hrlaif.handoff.cards import TO_FILL_IN
        from hrlaif.run import open_folder

        config = open_folder(folder).config
        made = export_model(folder, config, part=cast("Any", part), arm=cast("Any", arm), out=out)
        print(made)
        print(f"Next: fill in what {made / 'README.md'} marks {TO_FILL_IN}", file=sys.stderr)

    return command


def serve_reward(
    folder: RunFolder,
    arm: ArmName = "hrlaif",
    host: Annotated[str, typer.Option(help="Address to listen on; anyone who reaches it may ask.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="0 takes a free port.", min=0, max=65535)] = 0,
    verifier_weight: Annotated[
        float, typer.Option(help="Added for a correct answer and taken off for a wrong one.", min=0)
    ] = 0.0,
) -> None:
    """Serve an arm's reward model in OpenRLHF's protocol."""
    from hrlaif import artifacts
    from hrlaif.errors import ConfigError
    from hrlaif.handoff import ArmReward, RewardServer, serve
    from hrlaif.models.base import RewardScorer
    from hrlaif.run import needs_extra, open_folder
    from hrlaif.types import Prompt

    run = open_folder(folder)
    if arm not in run.config.arms:
        raise ConfigError(f"{folder}: this run has no arm {arm!r}, it has {' and '.join(run.config.arms)}.")
    prompts = artifacts.read_records(folder / "prompts.jsonl", Prompt)
    with needs_extra("train"):
        model: RewardScorer = run.scorer(cast("Any", arm))
    server = RewardServer(
        ArmReward(cast("Any", model), prompts, verifier_weight=verifier_weight), name=f"{run.folder.name}/{arm}"
    )
    serve(server, host=host, port=port, ready=lambda url: print(f"reward model of {arm}: {url}", flush=True))
