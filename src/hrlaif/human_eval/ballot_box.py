"""Votes from many raters at once, saved in groups: one commit to the disk serves all that wait for it."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from dataclasses import dataclass
from pathlib import Path

from hrlaif.human_eval.records import Ballot
from hrlaif.human_eval.store import Study

_MOST_AT_ONCE = 256


@dataclass(frozen=True, slots=True)
class _Waiting:
    ballot: Ballot
    saved: asyncio.Future[int]


class BallotBox:
    """A thread with the file open for writing; `cast` returns once the vote is on the disk."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._queue: queue.SimpleQueue[_Waiting | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._write, name="ballot box", daemon=True)
        self._thread.start()

    async def cast(self, ballot: Ballot) -> int:
        """The version of the vote, committed.

        Raises:
            DataError: It could not be saved; TakenError where its id is another item's.
        """
        saved: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._queue.put(_Waiting(ballot, saved))
        return await saved

    def close(self) -> None:
        """Save what waits, and end."""
        self._queue.put(None)
        self._thread.join()

    def _write(self) -> None:
        with Study(self._path) as study:
            while (first := self._queue.get()) is not None:
                group = [first]
                is_last = False
                with contextlib.suppress(queue.Empty):
                    while len(group) < _MOST_AT_ONCE:
                        # Whoever came while the last commit was under way shares the next one.
                        one = self._queue.get_nowait()
                        if one is None:
                            is_last = True
                            break
                        group.append(one)
                _save(study, group)
                if is_last:
                    return


def _save(study: Study, group: list[_Waiting]) -> None:
    try:
        answers: list[int | Exception] = [*study.cast([one.ballot for one in group])]
    except Exception as error:  # each waiting request says what it was
        if len(group) > 1:
            for one in group:
                _save(study, [one])
            return
        answers = [error]
    for one, answer in zip(group, answers, strict=True):
        # A loop that has ended has nobody left who waits.
        with contextlib.suppress(RuntimeError):
            one.saved.get_loop().call_soon_threadsafe(_settle, one.saved, answer)


def _settle(saved: asyncio.Future[int], answer: int | Exception) -> None:
    if saved.done():
        return
    if isinstance(answer, Exception):
        saved.set_exception(answer)
    else:
        saved.set_result(answer)
