import re

import pytest

from hrlaif.progress import Progress, track


def test_items_pass_through_and_the_last_line_counts_them_on_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(track(["a", "b", "c"], "reading", 3)) == ["a", "b", "c"]
    shown = capsys.readouterr()
    assert shown.out == ""
    assert re.fullmatch(r"reading: 3/3 in \d+ s \(\d+/s\)\n", shown.err)


def test_what_an_earlier_attempt_did_counts_as_done_but_not_into_the_rate(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress("labelling", 1_000_000, done=999_999) as progress:
        pass
    assert progress.done == 999_999
    assert re.fullmatch(r"labelling: 999999/1000000 in \d+ s \(0/s\)\n", capsys.readouterr().err)


def test_a_line_comes_now_and_then_and_the_last_one_once(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hrlaif.progress.PLAIN_EVERY_S", -1.0)
    assert list(track("ab", "reading", 2)) == ["a", "b"]
    assert [line.split(" in ")[0] for line in capsys.readouterr().err.splitlines()] == ["reading: 1/2", "reading: 2/2"]


def test_unfinished_work_shows_the_time_left_and_an_unknown_total_does_not(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress("attacking", 10) as progress:
        progress.advance(5)
    assert re.fullmatch(r"attacking: 5/10 in \d+ s \(\d+/s, \d+ s left\)\n", capsys.readouterr().err)
    with Progress("attacking", None) as progress:
        progress.advance(5)
    assert re.fullmatch(r"attacking: 5 in \d+ s \(\d+/s\)\n", capsys.readouterr().err)


def test_the_line_is_written_although_the_loop_broke_off(capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        for item in track(range(9), "reading", 9):
            if item == 2:
                raise LookupError

    with pytest.raises(LookupError):
        fail()
    assert capsys.readouterr().err.startswith("reading: 2/9 in ")


def test_no_items_are_no_division_by_zero(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(track([], "reading", 0)) == []
    assert re.fullmatch(r"reading: 0/0 in \d+ s \(0/s\)\n", capsys.readouterr().err)


def test_a_note_stands_beside_the_count_until_the_next_one(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress("training", 3) as progress:
        progress.advance(note="reward 0.5")
        progress.advance()
    assert re.fullmatch(r"training: 2/3 in \d+ s \(.*\): reward 0.5\n", capsys.readouterr().err)
