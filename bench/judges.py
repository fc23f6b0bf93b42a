"""A real judge for benchmarks: an endpoint that is named, or a GGUF file served by llama.cpp in this process."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Iterator
from pathlib import Path

from hrlaif.config import EndpointSection
from hrlaif.models import bundled
from hrlaif.models.http import HttpModel
from hrlaif.models.ledger import Ledger


def add_judge_options(parser: argparse.ArgumentParser, folder: str) -> None:
    """The options that `judge` reads; `folder` is where calls are kept by default, so that a second run is free."""
    parser.add_argument("--gguf", type=Path, help="a model file to serve with llama.cpp; or name an endpoint:")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--judge-url", default="")
    parser.add_argument("--judge-model", default="")
    parser.add_argument("--folder", type=Path, default=Path("runs") / folder, help="where calls and labels are kept")


@contextlib.contextmanager
def endpoint(options: argparse.Namespace) -> Iterator[EndpointSection]:
    """The endpoint that the options name or that serves their model; the bundled model if they name none."""
    options.folder.mkdir(parents=True, exist_ok=True)
    if options.judge_url:
        yield EndpointSection(url=options.judge_url, model=options.judge_model)
        return
    # One slot: the two orders of a pair follow each other, and the second finds the request read already.
    with bundled.serve(options.gguf, threads=options.threads, slots=1) as section:
        yield section


@contextlib.contextmanager
def judge(options: argparse.Namespace) -> Iterator[HttpModel]:
    """The judge that the options name, with a ledger in their folder."""
    with endpoint(options) as section, Ledger(options.folder / "calls.sqlite") as ledger:
        yield HttpModel(section, ledger=ledger)
