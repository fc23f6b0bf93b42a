from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from hrlaif.artifacts import read_records
from hrlaif.errors import ConfigError, DataError
from hrlaif.human_eval import Study, import_votes, write_votes
from hrlaif.human_eval.items import Item
from hrlaif.human_eval.records import Ballot, Flaw, Rating
from hrlaif.types import CalibrationPair, Finish, Label, Message, Prompt, Response, Satisfaction, Split, Task, Verdict

YES, NO = Rating(Satisfaction.YES), Rating(Satisfaction.NO, (Flaw.INCORRECT, Flaw.TOO_LONG))


def item(number: int, first: str = "", second: str = "") -> Item:
    prompt = Prompt(f"p{number}", (Message("user", f"Question {number}?"),), "c", Task.OPEN, split=Split.EVALUATION)
    texts = {"rlaif": first or f"good {number}", "start": second or f"bad {number}"}
    one, other = (Response(f"p{number}/0", prompt.id, text, arm, 0, Finish.STOP) for arm, text in texts.items())
    return Item(prompt, one, other, "rlaif", "start")


@pytest.fixture
def study(tmp_path: Path) -> Study:
    made = Study.create(tmp_path / "votes.sqlite", [item(n) for n in range(1, 4)], seed=0, overlap=2)
    made.add(["=anna", "ben"], days=1)
    return made


def rated(study: Study) -> Study:
    study.cast(
        [
            Ballot("v1", 1, 1, Verdict.FIRST, YES, NO, 4.0),
            Ballot("v2", 2, 1, Verdict.FIRST, YES, YES, 5.0),
            Ballot("v3", 1, 2, Verdict.TIE, NO, NO, 6.0),
        ]
    )
    return study


def write(path: Path, rows: object) -> Path:
    path.write_text(json.dumps(rows))
    return path


def test_votes_are_written_one_by_one_with_their_raters_quality(study: Study, tmp_path: Path) -> None:
    assert write_votes(rated(study), tmp_path / "v.jsonl", "votes") == 3
    rows = [json.loads(line) for line in (tmp_path / "v.jsonl").read_text().splitlines()]
    assert (rows[0]["rater"], rows[0]["first_arm"], rows[0]["verdict"]) == ("=anna", "rlaif", "first")
    assert rows[0]["second"] == {"satisfied": "no", "flaws": ["incorrect", "too_long"]}
    assert rows[0]["rater_quality"]["votes"] == 2


def test_a_table_of_votes_holds_no_formula(study: Study, tmp_path: Path) -> None:
    assert write_votes(rated(study), tmp_path / "v.csv", "votes") == 3
    with (tmp_path / "v.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["rater"] for row in rows] == ["'=anna", "ben", "'=anna"]
    assert (rows[0]["second_satisfied"], rows[0]["second_flaws"]) == ("no", "incorrect too_long")


def test_labels_and_pairs_are_what_a_judge_is_measured_on(study: Study, tmp_path: Path) -> None:
    assert write_votes(rated(study), tmp_path / "l.jsonl", "labels") == 2
    labels = list(read_records(tmp_path / "l.jsonl", Label))
    assert [(label.prompt_id, label.verdict) for label in labels] == [("p1", Verdict.FIRST), ("p2", Verdict.TIE)]
    assert write_votes(study, tmp_path / "p.jsonl", "pairs") == 2
    pairs = list(read_records(tmp_path / "p.jsonl", CalibrationPair))
    assert [(pair.response_a, pair.label) for pair in pairs] == [("good 1", "A"), ("good 2", "tie")]
    with pytest.raises(ConfigError, match="'xml' is none of votes, labels"):
        write_votes(study, tmp_path / "x", "xml")


def test_tasks_for_other_tools_name_no_arm_and_their_votes_come_back_to_the_right_response(
    study: Study, tmp_path: Path
) -> None:
    write_votes(study, tmp_path / "tasks.json", "label-studio")
    tasks = json.loads((tmp_path / "tasks.json").read_text())
    assert "rlaif" not in json.dumps(tasks)
    for task in tasks:
        side = "left" if task["data"]["response_a"].startswith("good") else "right"
        pick = {"type": "pairwise", "from_name": "pw", "to_name": "a,b", "value": {"selected": side}}
        task["id"], task["annotations"] = task["data"]["item"], [{"completed_by": 7, "result": [pick]}]
    told = import_votes(study, write(tmp_path / "done.json", tasks), "label-studio")
    assert told == "3 new votes of 3, from 1 raters"
    assert {(vote.rater, vote.verdict) for vote in study.votes()} == {("label-studio:7", Verdict.FIRST)}
    # The side is the one that the other tool showed.
    sides = {task["data"]["item"]: task["data"]["response_a"].startswith("bad") for task in tasks}
    assert {vote.item: vote.is_swapped for vote in study.votes()} == sides
    assert import_votes(study, tmp_path / "done.json", "label-studio") == "0 new votes of 3, from 1 raters"


def annotation(result: list[dict[str, Any]], by: object = 1, **more: object) -> dict[str, Any]:
    return {"completed_by": by, "result": result, **more}


def choice(name: str, *values: str) -> dict[str, Any]:
    return {"type": "choices", "from_name": name, "to_name": "x", "value": {"choices": list(values)}}


def test_label_studio_choices_bring_ties_satisfaction_and_reasons(study: Study, tmp_path: Path) -> None:
    answers = [
        choice("better", "tie"),
        choice("satisfied_a", "no"),
        choice("reasons_a", "Too long", "incorrect"),
        choice("satisfied_b", "yes"),
    ]
    skipped = annotation([], was_cancelled=True)
    data = {"text_a": " bad  1\n", "text_b": "good 1", "n": 3}
    rows = [{"id": 5, "data": data, "annotations": [annotation(answers, {"email": "x@y.z"}), skipped]}]
    rows.append({"id": 6, "data": {"text": "else"}, "annotations": [annotation(answers)]})
    rows.append({"id": 7, "data": data, "annotations": [annotation([choice("satisfied_a", "yes")], 3)]})
    told = import_votes(study, write(tmp_path / "done.json", rows), "label-studio")
    assert told == (
        "1 new votes of 1, from 1 raters; left out: 1 about no pair of this study, or about more than one, "
        "1 without a preference"
    )
    (vote,) = study.votes()
    # Their A is the pair's second response.
    assert (vote.rater, vote.verdict, vote.source) == ("label-studio:x@y.z", Verdict.TIE, "label-studio")
    assert vote.second == Rating(Satisfaction.NO, (Flaw.INCORRECT, Flaw.TOO_LONG))
    assert vote.first == YES


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("response-1", Verdict.SECOND),
        ("B", Verdict.FIRST),
        (["response-2", "response-1"], Verdict.FIRST),
        ([{"value": "response-1", "rank": 1}, {"value": "response-2", "rank": 2}], Verdict.SECOND),
        ([{"value": "response-1", "rank": 1}, {"value": "response-2", "rank": 1}], Verdict.TIE),
    ],
)
def test_argilla_labels_and_rankings_are_read(study: Study, tmp_path: Path, value: object, expected: Verdict) -> None:
    record = {
        "id": "a1",
        "fields": {"prompt": "Question 2?", "response-1": "bad 2", "response-2": "good 2"},
        "responses": {
            "preference": [{"value": value, "user_id": "u1"}],
            "satisfied_2": [{"value": "yes", "user_id": "u1"}],
            "comment": [{"value": "first things first", "user_id": "u1"}],
        },
    }
    import_votes(study, write(tmp_path / "records.json", [record]), "argilla")
    (vote,) = study.votes()
    assert (vote.item, vote.rater, vote.verdict) == (2, "argilla:u1", expected)
    assert vote.first == YES
    assert vote.second == Rating(Satisfaction.UNREADABLE)


def test_texts_that_occur_twice_are_told_apart_by_the_request(tmp_path: Path) -> None:
    with Study.create(tmp_path / "votes.sqlite", [item(n, "Yes", "No") for n in (1, 2)], seed=0, overlap=1) as study:
        fields = {"a": "Yes", "b": "No", "request": "Question 2?"}
        answered = {"better": [{"value": "a", "user_id": "u"}]}
        import_votes(
            study, write(tmp_path / "r.json", [{"id": "x", "fields": fields, "responses": answered}]), "argilla"
        )
        assert [vote.prompt_id for vote in study.votes()] == ["p2"]
        del fields["request"]
        with pytest.raises(DataError, match="no vote to take over: 1 about no pair of this study, or about more"):
            import_votes(
                study, write(tmp_path / "r.json", [{"id": "x", "fields": fields, "responses": answered}]), "argilla"
            )


@pytest.mark.parametrize(
    ("source", "rows", "expected"),
    [
        ("argilla", {"id": 1}, "a list of records is expected"),
        ("argilla", [{"id": 1}], "record 0: no 'fields' and 'responses'"),
        ("label-studio", [{"text_a": "x", "pw": "left"}], "not as JSON-MIN"),
        ("label-studio", [], "nobody has answered"),
    ],
)
def test_a_file_of_another_form_says_what_is_expected(
    study: Study, tmp_path: Path, source: str, rows: object, expected: str
) -> None:
    with pytest.raises(DataError, match=expected):
        import_votes(study, write(tmp_path / "x.json", rows), source)
    with pytest.raises(ConfigError, match="--from: 'word' is none of argilla, label-studio"):
        import_votes(study, tmp_path / "x.json", "word")
