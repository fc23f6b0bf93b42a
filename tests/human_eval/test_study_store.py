from __future__ import annotations

import sqlite3
from collections import Counter
from pathlib import Path

import pytest

from hrlaif.errors import ConfigError, DataError
from hrlaif.human_eval import Study, digest
from hrlaif.human_eval.items import Item
from hrlaif.human_eval.records import Ballot, Flaw, Rating
from hrlaif.types import Finish, Message, Prompt, Response, Satisfaction, Split, Task, Verdict

YES, NO = Rating(Satisfaction.YES), Rating(Satisfaction.NO, (Flaw.TOO_LONG, Flaw.HARMFUL))


def item(number: int, task: Task = Task.OPEN, known: Verdict | None = None) -> Item:
    prompt = Prompt(f"p{number}", (Message("user", f"{number}?"),), "c", task, split=Split.EVALUATION)
    first, second = (Response(f"p{number}/0", prompt.id, f"{arm} {number}", arm, 0, Finish.STOP) for arm in "xy")
    return Item(prompt, first, second, "x", "y", known)


def study(path: Path, count: int = 6, *, red_team: int = 0, overlap: int = 1) -> Study:
    items = [item(n) for n in range(count)] + [item(count + n, Task.RED_TEAM) for n in range(red_team)]
    return Study.create(path / "votes.sqlite", items, seed=7, overlap=overlap)


def ballot(vote_id: str, number: int = 1, verdict: Verdict = Verdict.FIRST, rater: int = 1) -> Ballot:
    return Ballot(vote_id, rater, number, verdict, YES, NO, 2.5)


def test_a_vote_comes_back_whole_and_unblinded(tmp_path: Path) -> None:
    with study(tmp_path) as one:
        one.add(["anna"], days=1)
        assert one.cast([ballot("v1", 3, Verdict.SECOND)]) == [1]
        (vote,) = one.votes()
        shown = one.shown(1, 3).item
    assert (vote.rater, vote.prompt_id, vote.verdict) == ("anna", shown.prompt.id, Verdict.SECOND)
    assert (vote.first_id, vote.second_id) == (f"x:{shown.first.id}", f"y:{shown.second.id}")
    assert (vote.first, vote.second, vote.seconds) == (YES, NO, 2.5)


def test_the_same_vote_again_is_one_vote_and_a_changed_mind_replaces_it_with_its_history_kept(tmp_path: Path) -> None:
    with study(tmp_path) as one:
        one.add(["anna"], days=1)
        assert one.cast([ballot("v1"), ballot("v1"), ballot("v2", verdict=Verdict.TIE)]) == [1, 1, 2]
        assert one.cast([ballot("v1")]) == [1]
        (vote,) = one.votes()
        assert (vote.id, vote.verdict, vote.version) == ("v2", Verdict.TIE, 2)
        assert one.db.execute("SELECT count(*) FROM votes").fetchone() == (2,)
        assert one.progress(1) == (1, 6)


def test_a_vote_id_cannot_be_used_for_another_item_and_nothing_of_its_batch_is_kept(tmp_path: Path) -> None:
    with study(tmp_path) as one:
        one.add(["anna"], days=1)
        one.cast([ballot("v1")])
        with pytest.raises(DataError, match="there already, on another item"):
            one.cast([ballot("v2", 2), ballot("v1", 3)])
        assert [vote.id for vote in one.votes()] == ["v1"]


def test_commits_reach_the_disk(tmp_path: Path) -> None:
    with study(tmp_path) as one:
        # 2 is FULL: the log is flushed to the disk at every commit.
        assert one.db.execute("PRAGMA synchronous").fetchone() == (2,)
        assert one.db.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_links_and_sessions_open_what_is_theirs_and_only_hashes_are_kept(tmp_path: Path) -> None:
    with study(tmp_path) as one:
        tokens = one.add(["anna", "ben"], days=1)
        assert len(tokens["anna"]) >= 43  # 256 bits
        opened = one.open_session(tokens["ben"])
        assert opened is not None
        secret, rater = opened
        assert rater.name == "ben"
        assert one.rater_of(secret) == rater
        assert one.rater_of(tokens["ben"]) is None
        assert one.open_session(secret) is None
        assert one.open_session("") is None
    kept = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    for token in (*tokens.values(), secret):
        assert token.encode() not in kept


def test_a_link_ends_after_its_days_and_when_it_is_renewed(tmp_path: Path) -> None:
    with study(tmp_path) as one:
        token = one.add(["anna"], days=1)["anna"]
        late = one.add(["late"], days=-1)["late"]
        opened = one.open_session(token)
        assert opened is not None
        assert one.open_session(late) is None
        renewed = one.renew(["anna"], days=1)["anna"]
        assert one.open_session(token) is None
        assert one.rater_of(opened[0]) is None
        assert one.open_session(renewed) is not None
        with pytest.raises(ConfigError, match="no rater 'cleo'"):
            one.renew(["cleo"], days=1)
        with pytest.raises(ConfigError, match="'anna' is there already"):
            one.add(["anna"], days=1)


def test_new_raters_take_over_what_nobody_has_rated(tmp_path: Path) -> None:
    with study(tmp_path, 10) as one:
        one.add(["anna"], days=1)
        first = one.upcoming(1, 4)
        one.cast([ballot(f"v{n}", n) for n in first])
        one.add(["ben"], days=1)
        # Ten items, one rater each: four are done by anna, and the other six make both equal.
        assert (one.progress(1), one.progress(2)) == ((4, 5), (0, 5))
        assert one.done(1) == first
        # What anna still had on the screen counts although it is ben's now.
        moved = one.upcoming(2, 1)[0]
        one.cast([ballot("late", moved)])
        assert one.progress(1) == (5, 6)


def test_who_leaves_red_team_items_out_leaves_them_to_others(tmp_path: Path) -> None:
    with study(tmp_path, 4, red_team=4, overlap=2) as one:
        one.add(["anna", "ben", "cleo"], days=1)
        one.set_reads_red_team(1, False)
        holders = one.db.execute("SELECT item, rater FROM places WHERE item > 4").fetchall()
        assert Counter(number for number, _ in holders) == Counter({5: 2, 6: 2, 7: 2, 8: 2})
        assert {rater for _, rater in holders} == {2, 3}
        assert [rater.reads_red_team for rater in one.raters()] == [False, None, None]


def test_the_digest_follows_the_votes(tmp_path: Path) -> None:
    path = tmp_path / "votes.sqlite"
    assert digest(path) == ""
    with study(tmp_path) as one:
        one.add(["anna"], days=1)
        before = digest(path)
        one.cast([ballot("v1")])
        after = digest(path)
        one.cast([ballot("v1")])
        assert before != after == digest(path)


def test_what_is_no_study_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no study here yet"):
        Study(tmp_path / "votes.sqlite")
    (tmp_path / "text").write_text("no database" * 100)
    with pytest.raises(DataError, match=r"text: .*not a database"):
        Study(tmp_path / "text")
    sqlite3.connect(tmp_path / "other").execute("CREATE TABLE x (y)").connection.close()
    with pytest.raises(DataError, match="not a study of this version"):
        Study(tmp_path / "other")


def test_a_full_disk_is_told_and_what_was_saved_stays(tmp_path: Path) -> None:
    with study(tmp_path) as one:
        one.add(["anna"], days=1)
        (pages,) = one.db.execute("PRAGMA page_count").fetchone()
        one.db.execute(f"PRAGMA max_page_count = {pages + 3}")
        acknowledged = 0

        def cast_on() -> None:
            nonlocal acknowledged
            while True:
                one.cast([ballot(f"v{acknowledged}", 1 + acknowledged % 6)])
                acknowledged += 1

        with pytest.raises(DataError, match=r"full\. What was saved before is safe"):
            cast_on()
        assert acknowledged > 10
        assert one.db.execute("SELECT count(*) FROM votes").fetchone() == (acknowledged,)
