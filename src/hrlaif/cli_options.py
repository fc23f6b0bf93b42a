"""Arguments and options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

JudgeUrl = Annotated[str, typer.Option(help="OpenAI-compatible endpoint of the judge, e.g. http://127.0.0.1:8000/v1.")]
JudgeModel = Annotated[str, typer.Option(help="Name of the model that the endpoint serves.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output and nothing else there.")]
RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.", show_default=False)]
