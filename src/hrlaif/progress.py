"""Progress of long steps: a bar with rate and time left on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")
PLAIN_EVERY_S = 15.0


class Progress:
    """One long step that advances by whole items; always to standard error, so that `--json` stays clean."""

    def __init__(self, what: str, total: int | None, *, done: int = 0) -> None:
        self.what, self.total, self.done = what, total, done
        self.note = ""
        self._resumed = done
        self._start = time.monotonic()
        self._printed = self._start
        self._bar = _rich_bar(what, total, done) if sys.stderr.isatty() else None

    def advance(self, by: int = 1, *, note: str = "") -> None:
        """Count `by` more items as done; `note` says how it is going and stands beside the bar until the next one."""
        self.done += by
        self.note = note or self.note
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], completed=self.done, note=self.note)
        elif self.done != self.total and time.monotonic() - self._printed > PLAIN_EVERY_S:  # `close` prints the last
            self._printed = time.monotonic()
            print(self._line(), file=sys.stderr, flush=True)

    def close(self) -> None:
        """Finish the bar, or print the step's last line."""
        if self._bar is not None:
            self._bar.stop()
        else:
            print(self._line(), file=sys.stderr, flush=True)

    def _line(self) -> str:
        seconds = time.monotonic() - self._start
        rate = (self.done - self._resumed) / seconds if seconds > 0 else 0.0
        per_s = f"{rate:.0f}" if rate >= 10 else f"{rate:.2g}"
        of = f"/{self.total}" if self.total is not None else ""
        left = (
            f", {(self.total - self.done) / rate:.0f} s left" if self.total and rate and self.done < self.total else ""
        )
        note = f": {self.note}" if self.note else ""
        return f"{self.what}: {self.done}{of} in {seconds:.0f} s ({per_s}/s{left}){note}"

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def track(items: Iterable[Item], what: str, total: int | None, *, done: int = 0) -> Iterator[Item]:
    """Yield the items and show how far the loop over them is; `done` of `total` were done in an earlier attempt."""
    with Progress(what, total, done=done) as progress:
        for item in items:
            yield item
            progress.advance()


def _rich_bar(what: str, total: int | None, done: int):  # type: ignore[no-untyped-def]
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as RichProgress

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    bar = RichProgress(*columns, console=Console(stderr=True))
    bar.start()
    bar.add_task(what, total=total, completed=done, note="")
    return bar
