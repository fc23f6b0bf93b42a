"""Files that survive a crash: JSON Lines (plain or .zst) with a manifest, written whole or not at all.

`Journal` is how a stage writes: one line per input item in `NAME.partial`, flattened into `NAME` and renamed when the
stage is complete. A stage that died finds its journal again and skips the items that are done. The manifest beside a
file (`NAME.manifest.json`) holds the fingerprint of everything the file depends on; a stage whose fingerprint matches
has nothing to do.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import io
import json
import math
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError

from hrlaif.errors import DataError, HrlaifError
from hrlaif.storage import File, Remote, reaching

_UNREADABLE: tuple[type[Exception], ...] = (OSError,)
try:
    import zstandard

    _UNREADABLE += (zstandard.ZstdError,)
except ModuleNotFoundError:  # in the extra `data`: it is a quarter of what a core install would download
    zstandard = None  # type: ignore[assignment]

SCHEMA_VERSION = 1
FULL_BYTES = 1 << 20
_JOURNAL_FORMAT = 2
# Stands between the records of one item in a journal. A tab is space to JSON and never occurs within a record, where
# it is written as an escape: a line is split without being parsed.
_BETWEEN = b",\t"
Record = TypeVar("Record")
Item = TypeVar("Item")
_cached: Any = functools.cache(TypeAdapter)


def adapter(record_type: type[Record]) -> TypeAdapter[Record]:
    """The validating reader and writer of one record type; built once, since building costs milliseconds."""
    made: TypeAdapter[Record] = _cached(record_type)
    return made


def encode(record: object) -> bytes:
    """One record as one line of JSON without its newline; same record, same bytes."""
    writer = adapter(type(record))
    try:
        return writer.dump_json(record)
    except PydanticSerializationError:
        # Half a surrogate pair (an emoji that a reply was cut off in) has no UTF-8 form and becomes a question mark.
        plain = writer.dump_python(record, mode="json")
        return json.dumps(plain, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def fingerprint(*parts: object) -> str:
    """SHA-256 over plain values (anything `json` writes), independent of key order."""
    text = json.dumps(parts, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()


def file_hash(path: File) -> str:
    """SHA-256 of a file's bytes; at an address, what its file system says of them where it says something."""
    if isinstance(path, Remote) and (version := path.version()) is not None:
        return version
    with reaching(str(path)), path.open("rb") as file:
        digest = hashlib.sha256()
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


@contextlib.contextmanager
def writing_to(path: Path) -> Iterator[None]:
    """Turn a full disk or a read-only folder into one clear message that says what to do."""
    try:
        with _noticing_a_full_disk(path):
            yield
    except OSError as error:
        raise _cannot_write(path, error.strerror or str(error)) from error


@contextlib.contextmanager
def _noticing_a_full_disk(path: Path) -> Iterator[None]:
    """On a full disk torch and safetensors raise errors of their own; other errors pass."""
    try:
        yield
    except (HrlaifError, OSError):
        raise
    except Exception as error:
        nearest = next(parent for parent in (path, *path.parents) if parent.exists())
        if "No space left" not in str(error) and shutil.disk_usage(nearest).free > FULL_BYTES:
            raise
        raise _cannot_write(path, f"the disk is full; {type(error).__name__}: {error}") from error


def _cannot_write(path: Path, reason: str) -> DataError:
    return DataError(
        f"{path}: cannot write ({reason}). Nothing written so far is lost: "
        "free some space or choose another folder, then run the same command again."
    )


def write_atomic(path: Path, content: bytes) -> None:
    """Write a whole file or nothing: a temporary name, flushed to the disk, then renamed."""
    temporary = path.with_name(path.name + ".tmp")
    with writing_to(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        _replace(temporary, path)


def _replace(temporary: Path, path: Path) -> None:
    """Put a whole file in place. A manifest beside it speaks of the file that was there before, and goes first."""
    manifest_path(path).unlink(missing_ok=True)
    temporary.replace(path)


def write_json(path: Path, value: object) -> None:
    """Write one JSON document, readable by people, whole or not at all."""
    write_atomic(path, json.dumps(value, indent=2, ensure_ascii=False, default=str).encode() + b"\n")


def read_json(path: Path) -> Any:
    """Read one JSON document; a missing or damaged file is a DataError that names it."""
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file. Run the stage that writes it first.") from error
    except ValueError as error:
        raise DataError(f"{path}: not valid JSON ({error}). Delete it and run the stage again.") from error


def read_lines(path: File) -> Iterator[tuple[int, bytes]]:
    """Stream the lines of a text file (plain or .zst) that are not blank, with their numbers from 1.

    Raises:
        DataError: The file is missing, cannot be read, or its compressed content is damaged.
    """
    try:
        with path.open("rb") as file:
            stream: Any = file
            if path.suffix == ".zst":
                # Appending to a .zst file adds a frame; by default the reader stops after the first.
                frames = _zstd(path).ZstdDecompressor().stream_reader(file, read_across_frames=True)
                stream = io.BufferedReader(frames)
            for number, line in enumerate(stream, start=1):
                if line.strip():
                    yield number, line
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file.") from error
    except _UNREADABLE as error:
        raise DataError(f"{path}: cannot be read ({error}).") from error


def _zstd(path: File) -> ModuleType:
    if zstandard is None:
        raise DataError(f"{path}: reading and writing .zst needs zstandard: pip install 'hrlaif[data]'")
    return zstandard


def read_records(path: Path, record_type: type[Record]) -> Iterator[Record]:
    """Stream records from JSON Lines.

    Raises:
        DataError: A line is not JSON or not such a record; the message holds `file:line` and the fields at fault.
    """
    reader = adapter(record_type)
    for number, line in read_lines(path):
        try:
            record = reader.validate_json(line)
        except ValidationError as error:
            raise DataError(f"{path}:{number}: not a valid {record_type.__name__}: {explain(error)}") from error
        yield record


def explain(error: ValidationError) -> str:
    """The problems that pydantic found, on one line: `field: what is wrong (value seen)`.

    A whole line or record is not repeated: its texts may be those of attacks.
    """
    parts = []
    for problem in error.errors(include_url=False):
        where = ".".join(str(step) for step in problem["loc"]) or "line"
        seen = problem.get("input")
        is_whole = isinstance(seen, (dict, list)) or problem["type"] == "json_invalid"
        parts.append(f"{where}: {problem['msg']}" + ("" if is_whole else f" (seen: {repr(seen)[:80]})"))
    return "; ".join(parts)


def manifest_path(path: Path) -> Path:
    """Where the manifest of a file or folder lies: beside a file, inside a folder."""
    return path / "manifest.json" if path.is_dir() else path.with_name(path.name + ".manifest.json")


def read_manifest(path: Path) -> dict[str, Any] | None:
    """The manifest of a finished artifact, None where there is none."""
    if not path.exists() or not manifest_path(path).exists():
        return None
    manifest: dict[str, Any] = read_json(manifest_path(path))
    return manifest


def copy(source: Path, target: Path) -> None:
    """Put a finished artifact in a second place, whole or not at all."""
    temporary = target.with_name(target.name + ".copy")
    with writing_to(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.rmtree(temporary, ignore_errors=True)
            shutil.copytree(source, temporary)
            if target.exists():
                shutil.rmtree(target)
            temporary.replace(target)
        else:
            shutil.copyfile(source, temporary)
            _replace(temporary, target)
            write_atomic(manifest_path(target), manifest_path(source).read_bytes())


def is_current(path: Path, expected: str) -> bool:
    """True where the artifact is finished and was made from exactly what `expected` (a fingerprint) stands for."""
    manifest = read_manifest(path)
    return manifest is not None and (manifest.get("schema"), manifest.get("fingerprint")) == (SCHEMA_VERSION, expected)


class Journal:
    """The resumable writer of one stage: `append` the records of one input item, then `finish`.

    `items` says how many input items are already on disk; the caller skips that many. Every item is one line, so a
    crash tears at most the last one, which is cut off and made again. A journal made from other inputs (another
    fingerprint) is discarded: paid replies are safe in the ledger.

        with Journal(path, fingerprint=print_) as journal:
            for prompt in prompts[journal.items:]:
                journal.append([label(prompt)])
            journal.finish(seed=0)
    """

    def __init__(self, path: Path, *, fingerprint: str) -> None:
        self.path = path
        self.fingerprint = fingerprint
        self.partial = path.with_name(path.name + ".partial")
        self._mark = path.with_name(path.name + ".partial.fingerprint")
        with writing_to(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            mark = f"{_JOURNAL_FORMAT} {fingerprint}"
            if not (self._mark.exists() and self._mark.read_text() == mark):
                self.partial.unlink(missing_ok=True)
                write_atomic(self._mark, mark.encode())
            self.items = self._keep_whole_lines()
            self._file = self.partial.open("ab")

    def _keep_whole_lines(self) -> int:
        if not self.partial.exists():
            return 0
        whole, items = 0, 0
        with self.partial.open("rb") as file:
            for line in file:
                if not (line.startswith(b"[") and line.endswith(b"]\n")):
                    break
                whole += len(line)
                items += 1
        os.truncate(self.partial, whole)
        return items

    def append(self, records: Sequence[object]) -> None:
        """Add the records (possibly none) of the next input item."""
        line = b"[" + _BETWEEN.join([encode(record) for record in records]) + b"]\n"
        try:
            self._file.write(line)
            self._file.flush()
        except OSError:
            with writing_to(self.path):
                raise
        self.items += 1

    def done(self, record_type: type[Record]) -> Iterator[list[Record]]:
        """The records of each finished item, in order."""
        reader = adapter(list[record_type])  # type: ignore[valid-type]
        with self.partial.open("rb") as file:
            for line in file:
                yield reader.validate_json(line)

    def finish(self, **manifest: object) -> int:
        """Flatten the journal into the final file, write its manifest, and return the number of records."""
        self._file.close()
        rows = 0
        temporary = self.path.with_name(self.path.name + ".tmp")
        with writing_to(self.path):
            with self.partial.open("rb") as source, temporary.open("wb") as target:
                with _compressed(target, self.path) as out:
                    for line in source:
                        if records := line[1:-2].split(_BETWEEN) if len(line) > len(b"[]\n") else []:
                            out.write(b"\n".join(records) + b"\n")
                            rows += len(records)
                target.flush()
                os.fsync(target.fileno())
            _replace(temporary, self.path)
        write_manifest(self.path, fingerprint=self.fingerprint, rows=rows, **manifest)
        self.partial.unlink(missing_ok=True)
        self._mark.unlink(missing_ok=True)
        return rows

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # After a write that failed, closing tries the same bytes again; the first error has said it all.
        with contextlib.suppress(OSError):
            self._file.close()


@contextlib.contextmanager
def _compressed(file: Any, path: Path) -> Iterator[Any]:
    if path.suffix != ".zst":
        yield file
        return
    with _zstd(path).ZstdCompressor().stream_writer(file, closefd=False) as out:
        yield out


def write_manifest(path: Path, *, fingerprint: str, **facts: object) -> None:
    """Mark an artifact as finished; written last, so that a manifest always means a whole artifact."""
    write_json(manifest_path(path), {"schema": SCHEMA_VERSION, "fingerprint": fingerprint, **facts})


def write_records(path: Path, records: Iterable[object], *, fingerprint: str, **manifest: object) -> int:
    """Write records in one go (for stages that take seconds) and return how many there were."""
    with Journal(path, fingerprint=fingerprint) as journal:
        for record in list(records)[journal.items :]:
            journal.append([record])
        return journal.finish(**manifest)


@contextlib.contextmanager
def folder_artifact(path: Path, *, fingerprint: str, **manifest: object) -> Iterator[Path]:
    """Make a folder whole or not at all: yields a temporary folder, renamed to `path` at the end.

    What a crashed attempt left in the temporary folder (checkpoints) is still there for the next attempt with the
    same fingerprint, and discarded for any other.
    """
    temporary = path.with_name(path.name + ".partial")
    mark = temporary / "fingerprint"
    with writing_to(path):
        if not (mark.exists() and mark.read_text() == fingerprint):
            if temporary.exists():
                shutil.rmtree(temporary)
            temporary.mkdir(parents=True)
            mark.write_text(fingerprint)
    with _noticing_a_full_disk(path):
        yield temporary
    with writing_to(path):
        write_manifest(temporary, fingerprint=fingerprint, **manifest)
        if path.exists():
            shutil.rmtree(path)
        temporary.replace(path)
        # Last, so that a crash on the way still finds its checkpoints.
        (path / mark.name).unlink()


def count_by(values: Iterable[str]) -> Mapping[str, int]:
    """How often each value occurs, most frequent first; what stages put into their manifests."""
    counts: dict[str, int] = {}
    for value in values:
        counts[value] = counts.get(value, 0) + 1
    return dict(sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])))


def evenly(items: Sequence[Item], most: int) -> list[Item]:
    """At most so many (0: all), spread over all places."""
    if not most or len(items) <= most:
        return list(items)
    return [items[len(items) * place // most] for place in range(most)]


def number(value: Any) -> float | None:
    """A finite number that a file holds, None for anything else."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    return float(value)
