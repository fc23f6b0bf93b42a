"""What can be read, and what a user is told when it cannot."""

import json
import subprocess
import sys
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
import zstandard

from hrlaif.errors import DataError
from hrlaif.prompts.sources import files_of, read
from hrlaif.types import Split


def _file(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def _parquet(folder: Path, name: str, rows: list[dict[str, object]]) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    return path


def _saved_dataset(folder: Path, rows: list[dict[str, object]], *, metadata: dict[str, object] | None = None) -> None:
    """As `datasets.save_to_disk` writes it: Arrow stream files, listed in state.json."""
    folder.mkdir(parents=True)
    table = pyarrow.Table.from_pylist(rows)
    if metadata:
        table = table.replace_schema_metadata({"huggingface": json.dumps(metadata)})
    half = len(rows) // 2
    for number, part in enumerate((table.slice(0, half), table.slice(half))):
        with pyarrow.ipc.new_stream(folder / f"data-0000{number}-of-00002.arrow", table.schema) as stream:
            stream.write_table(part)
    names = [{"filename": f"data-0000{number}-of-00002.arrow"} for number in range(2)]
    _file(folder, "state.json", json.dumps({"_data_files": names, "_split": "train"}))
    _file(folder, "dataset_info.json", "{}")


def test_json_lines_give_rows_that_know_their_line_past_blank_lines_and_a_byte_order_mark(tmp_path: Path) -> None:
    path = _file(tmp_path, "p.jsonl", '\ufeff{"prompt": "a"}\n\n{"prompt": "b"}\n')
    assert [(row.values, row.where) for row in read(path)] == [
        ({"prompt": "a"}, f"{path}:1"),
        ({"prompt": "b"}, f"{path}:3"),
    ]


def test_compressed_json_lines_are_read_to_the_last_frame(tmp_path: Path) -> None:
    frames = b"".join(
        zstandard.ZstdCompressor().compress(line) for line in (b'{"prompt": "a"}\n', b'{"prompt": "b"}\n')
    )
    path = _file(tmp_path, "p.jsonl.zst", frames)
    assert [row.values["prompt"] for row in read(path)] == ["a", "b"]


def test_every_malformed_line_is_named_in_one_message(tmp_path: Path) -> None:
    path = _file(tmp_path, "p.jsonl", b'{"prompt": "a"}\n{"prompt": \n["b"]\n{"prompt": "\xff"}\n')
    with pytest.raises(DataError) as error:
        read(path)
    assert "3 problem(s)" in str(error.value)
    assert f"{path}:2: not valid JSON" in str(error.value)
    assert f"{path}:3: a list, not an object" in str(error.value)
    assert f"{path}:4: not UTF-8" in str(error.value)


def test_reading_stops_at_twenty_problems(tmp_path: Path) -> None:
    path = _file(tmp_path, "p.jsonl", "oops\n" * 50)
    with pytest.raises(DataError, match="20 problem") as error:
        read(path)
    assert f"{path}:20:" in str(error.value)
    assert f"{path}:21:" not in str(error.value)


def test_csv_rows_know_the_line_they_begin_on_and_blank_cells_are_missing(tmp_path: Path) -> None:
    path = _file(tmp_path, "p.csv", '\ufeffprompt,answer\n"two\nlines",1\nlast, \n')
    assert [(row.values, row.where) for row in read(path)] == [
        ({"prompt": "two\nlines", "answer": "1"}, f"{path}:2"),
        ({"prompt": "last", "answer": None}, f"{path}:4"),
    ]


def test_tab_separated_values_are_read_too(tmp_path: Path) -> None:
    assert read(_file(tmp_path, "p.tsv", "prompt\tanswer\na, b\t1\n"))[0].values == {"prompt": "a, b", "answer": "1"}


def test_a_csv_row_with_too_many_cells_names_its_line(tmp_path: Path) -> None:
    path = _file(tmp_path, "p.csv", "prompt,answer\na,1\nb,c,2\n")
    with pytest.raises(DataError, match=r"p\.csv:3: 3 cells where the header has 2"):
        read(path)


def test_a_csv_header_that_names_a_column_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="names column 'answer' twice"):
        read(_file(tmp_path, "p.csv", "prompt,answer,answer\na,1,2\n"))


def test_a_csv_file_in_another_encoding_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not a readable CSV file in UTF-8"):
        read(_file(tmp_path, "p.csv", b"prompt\ncaf\xe9\n"))


def test_parquet_rows_are_numbered_and_keep_lists(tmp_path: Path) -> None:
    path = _parquet(tmp_path, "p.parquet", [{"prompt": "a", "choices": ["x", "y"]}, {"prompt": "b", "choices": None}])
    rows = read(path)
    assert rows[0].values == {"prompt": "a", "choices": ["x", "y"]}
    assert rows[1].where == f"{path} row 2"


def test_a_git_lfs_pointer_is_recognised(tmp_path: Path) -> None:
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n"
    with pytest.raises(DataError, match="git lfs pull"):
        read(_file(tmp_path, "p.parquet", pointer))


def test_without_pyarrow_the_message_says_what_to_install(tmp_path: Path) -> None:
    path = _parquet(tmp_path, "p.parquet", [{"prompt": "a"}])
    code = (
        "import sys; sys.modules['pyarrow'] = None\n"
        "from pathlib import Path\nfrom hrlaif.prompts.sources import read\n"
        "from hrlaif.errors import DataError\n"
        f"try:\n    read(Path({str(path)!r}))\nexcept DataError as error:\n    print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install 'hrlaif[data]'" in done.stdout


def test_a_saved_dataset_is_read_from_the_files_it_lists_and_not_from_its_caches(tmp_path: Path) -> None:
    folder = tmp_path / "saved"
    _saved_dataset(folder, [{"prompt": str(number)} for number in range(5)])
    _file(folder, "cache-1234.arrow", b"not arrow")
    rows = read(folder)
    assert [row.values["prompt"] for row in rows] == ["0", "1", "2", "3", "4"]
    assert {row.split for row in rows} == {None}


def test_saved_splits_become_train_and_evaluation(tmp_path: Path) -> None:
    for split in ("train", "validation", "test"):
        _saved_dataset(tmp_path / "saved" / split, [{"prompt": f"{split} {number}"} for number in range(2)])
    _file(tmp_path / "saved", "dataset_dict.json", '{"splits": ["train", "validation", "test"]}')
    split_of = {row.values["prompt"]: row.split for row in read(tmp_path / "saved")}
    assert split_of == {
        "train 0": Split.TRAIN,
        "train 1": Split.TRAIN,
        "validation 0": Split.EVALUATION,
        "validation 1": Split.EVALUATION,
        "test 0": Split.EVALUATION,
        "test 1": Split.EVALUATION,
    }


def test_class_labels_are_read_as_their_names(tmp_path: Path) -> None:
    features = {"mood": {"names": ["sad", "glad"], "_type": "ClassLabel"}, "prompt": {"dtype": "string"}}
    rows: list[dict[str, object]] = [{"prompt": "a", "mood": 1}, {"prompt": "b", "mood": 0}]
    _saved_dataset(tmp_path / "saved", rows, metadata={"info": {"features": features}})
    assert [row.values["mood"] for row in read(tmp_path / "saved")] == ["glad", "sad"]


def test_a_dataset_saved_with_an_index_is_refused(tmp_path: Path) -> None:
    _file(tmp_path, "state.json", '{"_data_files": [], "_indices_data_files": [{"filename": "indices.arrow"}]}')
    with pytest.raises(DataError, match="flatten_indices"):
        read(tmp_path)


def test_a_hub_folder_gives_splits_by_the_names_of_its_files(tmp_path: Path) -> None:
    for name in ("train-00000-of-00002", "train-00001-of-00002", "test-00000-of-00001"):
        _parquet(tmp_path, f"data/{name}.parquet", [{"prompt": name}])
    _file(tmp_path, "README.md", "about")
    _parquet(tmp_path, ".cache/train.parquet", [{"prompt": "hidden"}])
    assert [(row.values["prompt"], row.split) for row in read(tmp_path)] == [
        ("test-00000-of-00001", Split.EVALUATION),
        ("train-00000-of-00002", Split.TRAIN),
        ("train-00001-of-00002", Split.TRAIN),
    ]


def test_a_hub_folder_gives_splits_by_the_names_of_its_folders(tmp_path: Path) -> None:
    _file(tmp_path, "train/part-0.jsonl", '{"prompt": "a"}\n')
    _file(tmp_path, "dev/part-0.jsonl", '{"prompt": "b"}\n')
    assert [row.split for row in read(tmp_path)] == [Split.EVALUATION, Split.TRAIN]


def test_a_lone_train_split_stays_open_so_that_some_can_be_drawn_for_evaluation(tmp_path: Path) -> None:
    _parquet(tmp_path, "train-00000-of-00001.parquet", [{"prompt": "a"}])
    assert read(tmp_path)[0].split is None


def test_a_lone_test_split_is_for_evaluation(tmp_path: Path) -> None:
    _parquet(tmp_path, "test-00000-of-00001.parquet", [{"prompt": "a"}])
    assert read(tmp_path)[0].split is Split.EVALUATION


def test_a_file_named_like_a_split_says_nothing_when_it_is_named_itself(tmp_path: Path) -> None:
    assert files_of(_file(tmp_path, "test.jsonl", "{}")) == [(tmp_path / "test.jsonl", None)]


def test_a_folder_of_several_datasets_asks_for_one(tmp_path: Path) -> None:
    _parquet(tmp_path, "main/train.parquet", [{"prompt": "a"}])
    _parquet(tmp_path, "socratic/train.parquet", [{"prompt": "a"}])
    with pytest.raises(DataError, match=r"holds 2 datasets \(main, socratic\)"):
        read(tmp_path)


def test_an_empty_folder_says_what_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no dataset in this folder"):
        read(tmp_path)


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no rows"):
        read(_file(tmp_path, "p.jsonl", "\n"))


def test_a_missing_file_names_what_lies_beside_it(tmp_path: Path) -> None:
    _file(tmp_path, "prompts.jsonl", "{}")
    with pytest.raises(DataError, match=r"no such file or folder\. Beside it: prompts\.jsonl"):
        read(tmp_path / "promts.jsonl")


def test_an_unsupported_ending_names_the_supported_ones(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cannot read '\.xlsx'.*\.jsonl, \.jsonl\.zst, \.csv"):
        read(_file(tmp_path, "p.xlsx", "x"))


def test_one_big_json_list_is_refused_with_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="one object per line"):
        read(_file(tmp_path, "p.json", "[]"))
