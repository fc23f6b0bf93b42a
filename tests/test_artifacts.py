import json
import resource
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import zstandard

from hrlaif import artifacts
from hrlaif.artifacts import Journal, folder_artifact, is_current, read_manifest, read_records, write_records
from hrlaif.errors import DataError
from hrlaif.types import Basis, Evidence, Finish, Judgement, Label, Response, Verdict


def response(name: str, text: str = "a text") -> Response:
    return Response(name, "p", text, "policy", 7, Finish.STOP)


LABEL = Label(
    "p",
    "p/0",
    "p/1",
    0.25,
    Verdict.SECOND,
    Basis.JUDGE,
    Evidence(
        judgements=(Judgement("p", "p/0", "p/1", 0.25, Verdict.SECOND, "judge", "B, 好的 \u2028 \n"),), note="why"
    ),
)


@pytest.mark.parametrize("name", ["labels.jsonl", "labels.jsonl.zst"])
def test_records_come_back_as_they_were_written(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    assert write_records(path, [LABEL, LABEL], fingerprint="f") == 2
    assert list(read_records(path, Label)) == [LABEL, LABEL]


def test_one_record_is_one_line_and_the_same_record_the_same_bytes(tmp_path: Path) -> None:
    write_records(tmp_path / "a.jsonl", [LABEL], fingerprint="f")
    write_records(tmp_path / "b.jsonl", [LABEL], fingerprint="g")
    assert (tmp_path / "a.jsonl").read_bytes() == (tmp_path / "b.jsonl").read_bytes()
    assert (tmp_path / "a.jsonl").read_bytes().count(b"\n") == 1


def test_half_a_surrogate_pair_in_a_reply_is_written_as_a_question_mark(tmp_path: Path) -> None:
    write_records(tmp_path / "a.jsonl", [response("p/0", "cut \ud83d")], fingerprint="f")
    assert [found.text for found in read_records(tmp_path / "a.jsonl", Response)] == ["cut ?"]


def test_a_fingerprint_depends_on_every_value_and_not_on_the_order_of_keys() -> None:
    one = artifacts.fingerprint("stage", {"a": 1, "b": [0.5, None]})
    assert one == artifacts.fingerprint("stage", {"b": [0.5, None], "a": 1})
    assert one != artifacts.fingerprint("stage", {"a": 1, "b": [0.5, 0]})
    assert one != artifacts.fingerprint("other", {"a": 1, "b": [0.5, None]})


# --- journal ----------------------------------------------------------------------------------------------------


def test_a_torn_last_line_is_cut_off_and_made_again(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    with Journal(path, fingerprint="f") as journal:
        journal.append([response("p/0"), response("p/1")])
        journal.append([])
        journal.append([response("q/0")])
    with journal.partial.open("r+b") as file:
        file.truncate(journal.partial.stat().st_size - 5)
    with Journal(path, fingerprint="f") as journal:
        assert journal.items == 2
        journal.append([response("r/0")])
        assert [len(item) for item in journal.done(Response)] == [2, 0, 1]
        assert journal.finish() == 3
    assert [found.id for found in read_records(path, Response)] == ["p/0", "p/1", "r/0"]


def test_records_of_one_item_are_told_apart_whatever_they_say(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    texts = ["a,\tb", "},\t{", '"],\n["', "cut \ud83d,\t"]
    with Journal(path, fingerprint="f") as journal:
        journal.append([response(f"p/{number}", text) for number, text in enumerate(texts)])
        journal.append([])
        journal.append([response("q/0", "\t")])
        assert [len(item) for item in journal.done(Response)] == [4, 0, 1]
        assert journal.finish() == 5
    found = [record.text for record in read_records(path, Response)]
    assert found == [*texts[:3], "cut ?,\t", "\t"]


@pytest.mark.parametrize("damage", [b"\0" * 20 + b"\n", b"\0" * 20 + b"]\n", b"[" + b"\0" * 20 + b"\n"])
def test_what_follows_a_damaged_line_is_made_again_too(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "out.jsonl"
    with Journal(path, fingerprint="f") as journal:
        for name in ("p/0", "p/1", "p/2"):
            journal.append([response(name)])
    lines = journal.partial.read_bytes().splitlines(keepends=True)
    journal.partial.write_bytes(lines[0] + damage + lines[2])
    with Journal(path, fingerprint="f") as journal:
        assert journal.items == 1


def test_a_journal_made_from_other_inputs_is_discarded(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    with Journal(path, fingerprint="old") as journal:
        journal.append([response("p/0")])
    with Journal(path, fingerprint="new") as journal:
        assert journal.items == 0
        journal.append([response("p/1")])
        journal.finish()
    assert [found.id for found in read_records(path, Response)] == ["p/1"]


def test_a_journal_of_another_format_is_discarded(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    (tmp_path / "out.jsonl.partial").write_bytes(b'[{"id":1},{"id":2}]\n')
    (tmp_path / "out.jsonl.partial.fingerprint").write_text("f")
    with Journal(path, fingerprint="f") as journal:
        assert journal.items == 0


def test_an_unfinished_journal_leaves_the_finished_file_and_its_manifest_alone(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    write_records(path, [response("old")], fingerprint="old")
    with Journal(path, fingerprint="new") as journal:
        journal.append([response("new")])
    assert [found.id for found in read_records(path, Response)] == ["old"]
    assert is_current(path, "old")


def test_a_finished_file_has_a_manifest_with_its_facts_and_leaves_nothing_else_behind(tmp_path: Path) -> None:
    path = tmp_path / "arm" / "out.jsonl"
    with Journal(path, fingerprint="f") as journal:
        journal.append([response("p/0")])
        journal.finish(judge="j", counts={"a": 1})
    assert read_manifest(path) == {"schema": 1, "fingerprint": "f", "rows": 1, "judge": "j", "counts": {"a": 1}}
    assert sorted(found.name for found in path.parent.iterdir()) == ["out.jsonl", "out.jsonl.manifest.json"]


def test_an_artifact_is_current_only_for_its_own_fingerprint_and_schema(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    write_records(path, [response("p/0")], fingerprint="f")
    assert is_current(path, "f")
    assert not is_current(path, "g")
    manifest = artifacts.manifest_path(path)
    manifest.write_text(json.dumps({"schema": 0, "fingerprint": "f"}))
    assert not is_current(path, "f")
    manifest.unlink()
    assert not is_current(path, "f")


def test_a_manifest_without_its_file_makes_nothing_current(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    write_records(path, [response("p/0")], fingerprint="f")
    path.unlink()
    assert read_manifest(path) is None
    assert not is_current(path, "f")


def test_a_crash_between_a_new_file_and_its_manifest_leaves_no_manifest_of_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    write_records(path, [response("old")], fingerprint="old")
    blocked = tmp_path / "out.jsonl.manifest.json.tmp"
    blocked.mkdir()
    with pytest.raises(DataError, match="cannot write"):
        write_records(path, [response("new")], fingerprint="new")
    assert [found.id for found in read_records(path, Response)] == ["new"]
    assert read_manifest(path) is None
    blocked.rmdir()
    # The journal is still there: nothing is made twice.
    with Journal(path, fingerprint="new") as journal:
        assert journal.items == 1


def test_a_document_that_is_written_again_loses_the_manifest_of_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "numbers.json"
    artifacts.write_json(path, {"judge": "one"})
    artifacts.write_manifest(path, fingerprint="one")
    artifacts.write_json(path, {"judge": "two"})
    assert not is_current(path, "one")


def test_a_failed_write_leaves_the_old_content(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    artifacts.write_atomic(path, b"old")
    (tmp_path / "file.json.tmp").mkdir()
    with pytest.raises(DataError, match="cannot write"):
        artifacts.write_atomic(path, b"new")
    assert path.read_bytes() == b"old"


# --- folders ----------------------------------------------------------------------------------------------------


class CrashError(Exception):
    pass


def attempt(path: Path, fingerprint: str, *, crash: bool = False) -> list[str]:
    """Make a folder with one file; returns what an earlier attempt had left behind."""
    with folder_artifact(path, fingerprint=fingerprint, seed=1) as folder:
        found = sorted(entry.name for entry in folder.iterdir() if entry.name != "fingerprint")
        (folder / "checkpoint").write_text("step 3")
        if crash:
            raise CrashError
        (folder / "checkpoint").unlink()
        (folder / "weights").write_text(fingerprint)
    return found


def test_a_crashed_attempt_leaves_its_checkpoints_to_the_next_one_and_the_old_folder_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "policy"
    assert attempt(path, "old") == []
    with pytest.raises(CrashError):
        attempt(path, "new", crash=True)
    assert is_current(path, "old")
    assert (path / "weights").read_text() == "old"
    assert attempt(path, "new") == ["checkpoint"]
    assert is_current(path, "new")
    assert sorted(entry.name for entry in path.iterdir()) == ["manifest.json", "weights"]
    assert [entry.name for entry in tmp_path.iterdir()] == ["policy"]


def test_checkpoints_of_other_inputs_are_discarded(tmp_path: Path) -> None:
    path = tmp_path / "policy"
    with pytest.raises(CrashError):
        attempt(path, "one", crash=True)
    assert attempt(path, "two") == []


def test_a_folder_that_cannot_be_put_in_place_is_not_lost(tmp_path: Path) -> None:
    path = tmp_path / "policy"
    attempt(path, "old")

    def blocked() -> None:
        with folder_artifact(path, fingerprint="new") as folder:
            (folder / "checkpoint").write_text("step 9")
            (folder / "manifest.json.tmp").mkdir()

    with pytest.raises(DataError, match="cannot write"):
        blocked()
    assert (path / "weights").read_text() == "old"
    (tmp_path / "policy.partial" / "manifest.json.tmp").rmdir()
    assert attempt(path, "new") == ["checkpoint"]


# --- disks that are full or cannot be written ---------------------------------------------------------------------


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """No file grows beyond `size` bytes: a write is refused in the middle, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_write_that_fails_half_way_is_one_clear_error_and_loses_no_finished_item(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    one_line = len(artifacts.encode(response("p/0"))) + len("[]\n")

    def fill() -> None:
        with files_of_at_most(2 * one_line + 10), Journal(path, fingerprint="f") as journal:
            for k in range(9):
                journal.append([response(f"p/{k}")])

    with pytest.raises(DataError, match=r"out\.jsonl: cannot write .*run the same command again"):
        fill()
    with Journal(path, fingerprint="f") as journal:
        assert journal.items == 2
        for k in range(journal.items, 9):
            journal.append([response(f"p/{k}")])
        assert journal.finish() == 9
    assert [found.id for found in read_records(path, Response)] == [f"p/{k}" for k in range(9)]


def test_a_full_disk_is_one_clear_error_and_the_work_continues_when_there_is_space(small_disk: Path) -> None:
    path = small_disk / "run" / "out.jsonl"
    filler = small_disk / "filler"
    filler.write_bytes(b"x" * 40_000)
    text = "y" * 3_000

    def fill() -> None:
        with Journal(path, fingerprint="f") as journal:
            for k in range(journal.items, 8):
                journal.append([response(f"p/{k}", text)])
            journal.finish()

    with pytest.raises(DataError, match="No space left"):
        fill()
    assert not path.exists()
    filler.unlink()
    with Journal(path, fingerprint="f") as journal:
        assert 0 < journal.items < 8
    # 8 records of 3 kB twice, as journal and as final file, fit into 64 KiB.
    fill()
    assert [found.id for found in read_records(path, Response)] == [f"p/{k}" for k in range(8)]


def test_a_library_that_fails_on_a_full_disk_is_one_clear_error_and_its_other_errors_pass(
    small_disk: Path, tmp_path: Path
) -> None:
    def save(path: Path) -> None:
        with folder_artifact(path, fingerprint="f") as folder:
            (folder / "weights").write_bytes(b"x" * 1000)
            raise RuntimeError("unexpected pos 768 vs 662")

    with pytest.raises(DataError, match=r"policy: cannot write \(the disk is full; RuntimeError: unexpected pos"):
        save(small_disk / "policy")
    with pytest.raises(RuntimeError, match="unexpected pos"):
        save(tmp_path / "policy")


def test_a_folder_that_cannot_be_written_is_one_clear_error(read_only_folder: Path) -> None:
    for write in (
        lambda: write_records(read_only_folder / "out.jsonl", [LABEL], fingerprint="f"),
        lambda: artifacts.write_json(read_only_folder / "out.json", {}),
        lambda: attempt(read_only_folder / "policy", "f"),
    ):
        with pytest.raises(DataError, match=r"cannot write .*choose another folder"):
            write()


def test_a_file_where_a_folder_should_be_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("a file")
    with pytest.raises(DataError, match=r"run.out\.jsonl: cannot write"):
        write_records(tmp_path / "run" / "out.jsonl", [LABEL], fingerprint="f")


# --- reading ----------------------------------------------------------------------------------------------------


def test_a_bad_record_is_named_by_file_line_and_field_with_the_value_seen(tmp_path: Path) -> None:
    path = tmp_path / "responses.jsonl"
    good = artifacts.encode(response("p/0")).decode()
    path.write_text("\n".join([good, "", good.replace('"stop"', '"never"')]))
    found = read_records(path, Response)
    assert next(found).id == "p/0"
    with pytest.raises(DataError, match=r"responses\.jsonl:3: not a valid Response: finish: .*'never'"):
        next(found)


@pytest.mark.parametrize("line", [b'{"text": "SECRET"}\n', b'{"text": "SECRET\n', b'{"id": {"text": "SECRET"}}\n'])
def test_texts_of_a_record_that_cannot_be_read_are_not_repeated(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "red_team.jsonl"
    path.write_bytes(line)
    with pytest.raises(DataError, match=r"red_team\.jsonl:1: not a valid Response: ") as raised:
        list(read_records(path, Response))
    assert "SECRET" not in str(raised.value)


@pytest.mark.parametrize("line", [b"{not json", b'["a list"]', b"\xff\xfe", b'{"id": "p/0"}'])
def test_a_line_that_is_no_such_record_is_named(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "responses.jsonl"
    path.write_bytes(line + b"\n")
    with pytest.raises(DataError, match=r"responses\.jsonl:1: not a valid Response"):
        list(read_records(path, Response))


def test_missing_and_damaged_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone\.jsonl: no such file"):
        list(read_records(tmp_path / "gone.jsonl", Response))
    with pytest.raises(DataError, match=r"gone\.json: no such file\. Run the stage"):
        artifacts.read_json(tmp_path / "gone.json")
    (tmp_path / "half.json").write_text('{"a": ')
    with pytest.raises(DataError, match=r"half\.json: not valid JSON"):
        artifacts.read_json(tmp_path / "half.json")
    damaged = tmp_path / "r.jsonl.zst"
    write_records(damaged, [response("p/0")], fingerprint="f")
    content = bytearray(damaged.read_bytes())
    content[:4] = b"nope"
    damaged.write_bytes(content)
    with pytest.raises(DataError, match=r"r\.jsonl\.zst: cannot be read"):
        list(read_records(damaged, Response))


def test_a_compressed_file_of_several_frames_is_read_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "lines.zst"
    path.write_bytes(zstandard.compress(b"one\n\n") + zstandard.compress(b"three\n"))
    assert list(artifacts.read_lines(path)) == [(1, b"one\n"), (3, b"three\n")]


def test_counts_are_ordered_by_frequency_then_name() -> None:
    assert list(artifacts.count_by(["b", "c", "a", "c"]).items()) == [("c", 2), ("a", 1), ("b", 1)]


def test_a_file_has_the_hash_of_its_bytes(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x" * 3_000_000)
    shutil.copy(tmp_path / "a", tmp_path / "b")
    assert artifacts.file_hash(tmp_path / "a") == artifacts.file_hash(tmp_path / "b")
    (tmp_path / "b").write_bytes(b"x" * 2_999_999 + b"y")
    assert artifacts.file_hash(tmp_path / "a") != artifacts.file_hash(tmp_path / "b")
