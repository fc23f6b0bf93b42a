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
def judge(options: argparse.Namespace) -> Iterator[HttpModel]:
    """The judge that the options name, with a ledger in their folder; the bundled model if they name none."""
    options.folder.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        ledger = stack.enter_context(Ledger(options.folder / "calls.sqlite"))
        if options.judge_url:
            section = EndpointSection(url=options.judge_url, model=options.judge_model)
        else:
            # One slot: the two orders of a pair follow each other, and the second finds the request read already.
            section = stack.enter_context(bundled.serve(options.gguf, threads=options.threads, slots=1))
        yield HttpModel(section, ledger=ledger)
