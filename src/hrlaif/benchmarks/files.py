"""The files of a benchmark, read row by row as their authors published them; each row remembers where it stands."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from hrlaif.config import LM_EVAL, BenchmarkKind, BenchmarkSection
from hrlaif.errors import DataError

TABLES = (".jsonl", ".jsonl.zst", ".csv", ".tsv", ".parquet")
ALSO: dict[str, tuple[str, ...]] = {"math": (".json",), "truthfulqa": (".json",), "toxigen": (".txt",)}
_TEST = re.compile(r"(?:^|[/_.-])test(?:[/_.-]|$)", re.I)
_GROUPED = re.compile(r"(hate|neutral)_(.+?)(?:_1k)?\.txt")
_MMLU = ("question", "A", "B", "C", "D", "answer")


class TableRow(Protocol):
    """A row of a table: its columns and where it stands."""

    @property
    def values(self) -> dict[str, Any]:
        """Column names and values."""

    @property
    def where(self) -> str:
        """`FILE:LINE` or `FILE row N`."""


ReadTable = Callable[[Path], Iterable[TableRow]]


@dataclass(frozen=True, slots=True)
class Row:
    """One published row. `stem` is its file's name without ending, which some sets name a subject by."""

    values: dict[str, Any]
    where: str
    stem: str

    def value(self, *names: str) -> Any:
        """The first of these columns that holds something, whatever its case; None where none does."""
        lowered = {column.lower(): value for column, value in self.values.items()}
        return next((found for name in names if (found := lowered.get(name.lower())) is not None), None)

    def text(self, *names: str) -> str:
        """The text in the first of these columns that holds something.

        Raises:
            DataError: None does, or it is no text.
        """
        value = self.value(*names)
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            value = str(value)
        if not isinstance(value, str) or not value.strip():
            raise self.wrong(f"no text in {' or '.join(map(repr, names))} (seen: {str(value)[:60]!r})")
        return value

    def wrong(self, problem: str) -> DataError:
        """What to raise about this row."""
        columns = ", ".join(map(str, self.values)) or "none"
        return DataError(f"{self.where}: {problem}. The row's columns: {columns}. docs/benchmarks.md shows the format.")


def files_of(section: BenchmarkSection) -> list[Path]:
    """The files of one benchmark in reading order; of a folder those marked `test`, where any is.

    Raises:
        DataError: There is no such file or folder, or nothing in it can be read.
    """
    path, endings = Path(section.path), _endings(section.kind)
    key = f"evaluation.benchmarks: {section.name!r}"
    if path.is_file() and section.kind == LM_EVAL:
        raise DataError(f"{key}: {path}: a file; lm-eval takes a folder with task files and the rows they name.")
    if path.is_file():
        if not path.name.endswith(endings):
            raise DataError(f"{key}: {path}: cannot read this ending; {section.kind} comes as {', '.join(endings)}.")
        return [path]
    if not path.is_dir():
        raise DataError(
            f"{key}: {path}: no such file or folder. Paths are relative to the configuration file; "
            f"docs/benchmarks.md says where {section.kind} is published."
        )
    found = sorted(file for file in path.rglob("*") if file.is_file() and file.name.endswith(endings))
    shown = [file for file in found if not any(part.startswith(".") for part in file.relative_to(path).parts)]
    if section.kind == LM_EVAL:
        # Functions of a task lie beside it, and are compiled there.
        return [file for file in shown if "__pycache__" not in file.parts]
    tests = [file for file in shown if _TEST.search(str(file.relative_to(path)))]
    if not shown:
        raise DataError(f"{key}: {path}: no file with the ending {', '.join(endings)} in this folder.")
    return tests or shown


def rows_of(section: BenchmarkSection, read_table: ReadTable) -> Iterator[Row]:
    """The rows of one benchmark; `read_table` reads JSON Lines, Parquet, and CSV with a header.

    Raises:
        DataError: A file cannot be read; the message names it, and the line where there is one.
    """
    for file in files_of(section):
        if file.suffix == ".json":
            rows = _json_rows(file)
        elif file.suffix == ".txt":
            rows = _prompt_lines(file)
        elif section.kind == "mmlu" and file.suffix == ".csv" and not _has_header(file):
            rows = _mmlu_rows(file)
        else:
            rows = ((row.values, row.where) for row in read_table(file))
        for values, where in rows:
            yield Row(values, where, file.name.removesuffix(file.suffix))


def _endings(kind: BenchmarkKind) -> tuple[str, ...]:
    return ("",) if kind == LM_EVAL else (*TABLES, *ALSO.get(kind, ()))


def _json_rows(file: Path) -> Iterator[tuple[dict[str, Any], str]]:
    """A file that is one object, or one list of objects."""
    try:
        found = json.loads(file.read_bytes())
    except (OSError, ValueError) as error:
        raise DataError(f"{file}: not valid JSON ({error}).") from error
    for number, values in enumerate(found if isinstance(found, list) else [found], start=1):
        where = f"{file} item {number}" if isinstance(found, list) else str(file)
        if not isinstance(values, dict):
            raise DataError(f"{where}: a {type(values).__name__}, not an object.")
        yield values, where


def _prompt_lines(file: Path) -> Iterator[tuple[dict[str, Any], str]]:
    """ToxiGen's prompt files: one prompt a line, its own line breaks spelled out, side and group in the file's name."""
    named = _GROUPED.fullmatch(file.name)
    if named is None:
        raise DataError(f"{file}: the name says neither side nor group; the published files are hate_GROUP_1k.txt.")
    for number, line in enumerate(_text(file).splitlines(), start=1):
        if line.strip():
            values = {"prompt": line.replace("\\n", "\n"), "prompt_label": named[1], "group": named[2]}
            yield values, f"{file}:{number}"


def _text(file: Path) -> str:
    try:
        return file.read_bytes().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{file}: cannot be read as UTF-8 ({error}).") from error


def _has_header(file: Path) -> bool:
    first: list[str] = []
    with contextlib.suppress(csv.Error):  # who reads the rows says what is wrong with them
        first = next(csv.reader(io.StringIO(_text(file), newline="")), [])
    return "question" in [cell.strip().lower() for cell in first]


def _mmlu_rows(file: Path) -> Iterator[tuple[dict[str, Any], str]]:
    """MMLU's own files: question, four options and a letter, without a header; the file's name is the subject."""
    # Cells hold line breaks: only the reader may divide the text into lines.
    reader = csv.reader(io.StringIO(_text(file), newline=""), strict=True)
    subject = re.sub(r"_(?:test|val|dev)$", "", file.stem)
    try:
        for cells in reader:
            where = f"{file}:{reader.line_num}"
            if len(cells) != len(_MMLU):
                raise DataError(f"{where}: {len(cells)} cells; MMLU has {len(_MMLU)}: {', '.join(_MMLU)}.")
            yield {**dict(zip(_MMLU, cells, strict=True)), "subject": subject}, where
    except csv.Error as error:
        raise DataError(f"{file}:{reader.line_num}: not CSV ({error}).") from error
