"""Problems of one source, gathered so that a user sees them together instead of one a run."""

from __future__ import annotations

from hrlaif.errors import DataError

MOST_SHOWN = 20


class Problems:
    """The problems of one file or folder; the twentieth ends the reading."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._found: list[str] = []

    def add(self, problem: str) -> None:
        """Note one problem (with its file and line).

        Raises:
            DataError: Enough problems have come together to say so.
        """
        self._found.append(problem)
        if len(self._found) == MOST_SHOWN:
            self._stop("; reading stopped here, there may be more")

    def check(self) -> None:
        """End the reading.

        Raises:
            DataError: There were problems; the message lists them all.
        """
        if self._found:
            self._stop("")

    def _stop(self, more: str) -> None:
        lines = "\n".join(f"  {problem}" for problem in self._found)
        raise DataError(f"{self._source}: {len(self._found)} problem(s){more}:\n{lines}")
