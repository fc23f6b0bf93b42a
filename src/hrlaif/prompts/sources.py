"""Files, shards and dataset folders of prompts, read into plain rows that remember where they stand.

Every kind of source gives the same: a list of rows, each a mapping of column names to values. What the columns mean is
decided elsewhere (`columns`, `rows`).
"""

from __future__ import annotations

import csv
import glob
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hrlaif import storage
from hrlaif.artifacts import read_lines
from hrlaif.errors import DataError
from hrlaif.prompts.problems import Problems
from hrlaif.storage import File
from hrlaif.types import Split

ENDINGS = (".jsonl", ".jsonl.zst", ".csv", ".tsv", ".parquet")
SPLIT_NAMES = {
    **dict.fromkeys(("train", "training", "auxiliary_train"), Split.TRAIN),
    **dict.fromkeys(("test", "testing", "validation", "valid", "val", "dev", "eval", "evaluation"), Split.EVALUATION),
}


@dataclass(frozen=True, slots=True)
class Row:
    """One row: its columns, where it stands (`file:line` or `file row n`), and the split its folder names, if any."""

    values: dict[str, Any]
    where: str
    split: Split | None = None


def files_of(place: Path | str) -> list[tuple[File, Split | None]]:
    """The files that make up a source, in reading order, with the split that a dataset folder gives each.

    A source with a `*` is all files that match, an address (`s3://...`) one file or all that match. A folder is either
    what `datasets.save_to_disk` wrote (one dataset, or one per split) or a folder of files as on the Hugging Face hub.
    Evaluation splits always count; "train" counts where there is an evaluation split beside it, since a lone train
    split leaves nothing to evaluate on and is better divided.

    Raises:
        DataError: There is no such file or folder, it is of a kind that cannot be read, or it holds several datasets.
    """
    if storage.is_url(str(place)):
        return [(_readable(file), None) for file in storage.found(str(place))]
    path = Path(place)
    if path.is_dir():
        files = _saved(path) or _hub(path)
        has_evaluation = any(split is Split.EVALUATION for _, split in files)
        return [(file, split if has_evaluation else None) for file, split in files]
    if "*" in path.name and (matching := sorted(glob.glob(path.name, root_dir=path.parent))):
        return [(_readable(path.parent / name), None) for name in matching]
    if not path.exists():
        beside = sorted(file.name for file in path.parent.glob("*") if file.name.endswith(ENDINGS))[:8]
        hint = f" Beside it: {', '.join(beside)}." if beside else ""
        raise DataError(f"{path}: no such file or folder.{hint} Paths are relative to the configuration file.")
    return [(_readable(path), None)]


def _readable(path: File) -> File:
    if not path.name.endswith(ENDINGS):
        advice = "write one object per line into a .jsonl file" if path.suffix == ".json" else "convert it to .jsonl"
        raise DataError(
            f"{path}: cannot read {path.suffix or 'a file without ending'!r}; {advice}, or bring one of "
            f"{', '.join(ENDINGS)} or a Hugging Face dataset folder."
        )
    return path


def read(place: Path | str) -> list[Row]:
    """All rows of a file, of all that match a pattern, or of a dataset folder.

    Raises:
        DataError: Something cannot be read or there are no rows; up to 20 problems are listed together.
    """
    problems = Problems(str(place))
    with storage.reaching(str(place)):
        rows = [row for file, split in files_of(place) for row in _rows(file, split, problems)]
    problems.check()
    if not rows:
        raise DataError(f"{place}: holds no rows. Add prompts to it, or take it out of prompts.sources.")
    return rows


def _rows(file: File, split: Split | None, problems: Problems) -> Iterator[Row]:
    if file.suffix in (".parquet", ".arrow"):
        for number, values in enumerate(_table_rows(file), start=1):
            yield Row(values, f"{file} row {number}", split)
    else:
        reader = _csv_rows if file.suffix in (".csv", ".tsv") else _json_rows
        for line, values in reader(file, problems):
            yield Row(values, f"{file}:{line}", split)


def _json_rows(file: File, problems: Problems) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in read_lines(file):
        try:
            values = json.loads(line.decode("utf-8-sig" if number == 1 else "utf-8"))
        except UnicodeDecodeError as error:
            problems.add(f"{file}:{number}: not UTF-8 ({error.reason} at byte {error.start}). Save the file as UTF-8.")
        except (ValueError, RecursionError) as error:
            seen = line.decode(errors="replace").strip()[:60]
            problems.add(f"{file}:{number}: not valid JSON ({error}): {seen!r}. Each line must be one whole object.")
        else:
            if isinstance(values, dict):
                yield number, values
            else:
                problems.add(f'{file}:{number}: a {type(values).__name__}, not an object. Write {{"prompt": ...}}.')


def _csv_rows(file: File, problems: Problems) -> Iterator[tuple[int, dict[str, Any]]]:
    try:
        with file.open("r", encoding="utf-8-sig", newline="") as stream:
            reader = csv.reader(stream, delimiter="\t" if file.suffix == ".tsv" else ",", strict=True)
            header = next(reader, [])
            if twice := sorted({name for name in header if header.count(name) > 1}):
                raise DataError(f"{file}:1: the header names column {twice[0]!r} twice. Rename one.")
            line = reader.line_num + 1
            for cells in reader:
                if cells and len(cells) != len(header):
                    problems.add(
                        f"{file}:{line}: {len(cells)} cells where the header has {len(header)}. "
                        "Quote cells that hold the separator."
                    )
                elif cells:
                    yield line, {name: cell if cell.strip() else None for name, cell in zip(header, cells, strict=True)}
                line = reader.line_num + 1
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{file}: not a readable CSV file in UTF-8 ({error}).") from error


def _table_rows(file: File) -> Iterator[dict[str, Any]]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise DataError(f"{file}: Parquet and Arrow files need pyarrow. Run: pip install 'hrlaif[data]'") from error
    try:
        with file.open("rb") as stream:
            if file.suffix == ".parquet":
                parquet = pyarrow.parquet.ParquetFile(stream)
                schema, batches = parquet.schema_arrow, parquet.iter_batches()
            else:
                batches = pyarrow.ipc.open_stream(stream)
                schema = batches.schema
            names = _label_names(schema.metadata)
            for batch in batches:
                for values in batch.to_pylist():
                    yield {column: _named(value, names.get(column)) for column, value in values.items()}
    except (pyarrow.ArrowException, OSError) as error:
        advice = "It is a Git LFS pointer: run `git lfs pull`." if _is_pointer(file) else "Download or save it again."
        raise DataError(f"{file}: not a readable {file.suffix[1:]} file ({error}). {advice}") from error


def _is_pointer(file: File) -> bool:
    return (
        isinstance(file, Path)
        and file.is_file()
        and file.stat().st_size < 1024
        and file.read_bytes().startswith(b"version https://git-lfs")
    )


def _label_names(metadata: dict[bytes, bytes] | None) -> dict[str, list[str]]:
    """Hugging Face stores class labels as numbers and their names in the table's metadata."""
    described = json.loads((metadata or {}).get(b"huggingface", b"{}"))
    features = described.get("info", {}).get("features", {})
    return {column: kind["names"] for column, kind in features.items() if isinstance(kind, dict) and "names" in kind}


def _named(value: Any, names: list[str] | None) -> Any:
    is_label = names is not None and isinstance(value, int) and 0 <= value < len(names)
    return names[value] if names is not None and is_label else value


def _saved(folder: Path) -> list[tuple[File, Split | None]]:
    """The Arrow files that `datasets.save_to_disk` lists; other .arrow files beside them are its caches."""
    if (folder / "dataset_dict.json").exists():
        splits = _json(folder / "dataset_dict.json").get("splits", [])
        return [(file, SPLIT_NAMES.get(split.lower())) for split in splits for file, _ in _saved(folder / split)]
    if not (folder / "state.json").exists():
        return []
    state = _json(folder / "state.json")
    if state.get("_indices_data_files"):
        raise DataError(f"{folder}: saved with an index by an old version of datasets. Save flatten_indices() of it.")
    return [(folder / entry["filename"], None) for entry in state.get("_data_files", [])]


def _hub(folder: Path) -> list[tuple[File, Split | None]]:
    """The files of a folder as on the hub: the split is in the file's name or its folder's."""
    files = [
        file
        for file in sorted(folder.rglob("*"))
        if file.name.endswith(ENDINGS) and not any(part.startswith(".") for part in file.relative_to(folder).parts)
    ]
    if not files:
        raise DataError(
            f"{folder}: no dataset in this folder; looked for {', '.join(ENDINGS)} and for what "
            "datasets.save_to_disk writes. Point `path` at the folder that holds them."
        )
    datasets = sorted({_dataset_of(file, folder) for file in files})
    if len(datasets) > 1:
        shown = ", ".join(dataset or "." for dataset in datasets[:8])
        raise DataError(f"{folder}: holds {len(datasets)} datasets ({shown}). Point `path` at one of them.")
    return [(file, _split_in(file.name) or _split_in(file.parent.name)) for file in files]


def _dataset_of(file: Path, folder: Path) -> str:
    parts = file.parent.relative_to(folder).parts
    return "/".join(part for part in parts if _split_in(part) is None)


def _split_in(name: str) -> Split | None:
    words = re.match(r"(auxiliary_)?[a-z]+", name.lower())
    return SPLIT_NAMES.get(words.group()) if words else None


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read ({error}). Save the dataset again.") from error
    return found if isinstance(found, dict) else {}
