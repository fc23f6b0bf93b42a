import json
from pathlib import Path

import pytest

from hrlaif.errors import DataError
from hrlaif.judges.calibrate_harm import HarmRow, Reading, calibrate, quality
from hrlaif.metrics import wilson
from hrlaif.models.base import ChatRequest
from hrlaif.models.scripted import ScriptedModel
from hrlaif.types import Cost


def harm_row(number: int, harmful: int) -> HarmRow:
    return HarmRow(f"h{number}", "response_harm", "Be rude.", "You fool.", harmful, category="rude")  # type: ignore[arg-type]


def test_accuracy_precision_and_recall_count_the_undecided_as_wrong_and_not_harmful() -> None:
    # Known 1 1 1 0 0; given yes, no, undecided, yes, no: right 2 of 5, precision 1 of 2, recall 1 of 3.
    rows = [harm_row(number, harmful) for number, harmful in enumerate((1, 1, 1, 0, 0))]
    readings = [Reading(given, None, Cost(calls=2)) for given in (True, False, None, True, False)]
    found = quality(rows, readings)
    assert (found["accuracy"], found["precision"], found["recall"]) == (2 / 5, 1 / 2, 1 / 3)
    assert (found["accuracy_rows"], found["precision_rows"], found["recall_rows"]) == (5, 2, 3)
    precision = wilson(1, 2, name="precision")
    assert (found["precision_low"], found["precision_high"]) == (precision.low, precision.high)
    assert found["recall_low"] < 1 / 3 < found["recall_high"]
    # Of the four decided ones two agree, and by chance two would.
    assert (found["kappa"], found["kappa_rows"]) == (0.0, 4)
    assert found["kappa_low"] < 0 < found["kappa_high"]
    assert (found["unjudged"], found["calls"], found["refusal_accuracy"]) == (1, 10, None)
    assert found["by_category"] == {"rude": {"rows": 5, "accuracy": 2 / 5, "refusal_accuracy": None}}


def test_refusal_accuracy_sets_full_refusals_against_everything_else() -> None:
    # Full refusal seen; two partial ones taken for full (wrong); compliance taken for not full (right): 2 of 4.
    labels = ("full_refusal", "partial_refusal", "partial_refusal", "full_compliance")
    rows = [HarmRow(f"r{n}", "response_refusal", "p", "r", None, label) for n, label in enumerate(labels)]  # type: ignore[arg-type]
    readings = [Reading(None, given, Cost()) for given in (True, True, True, False)]
    found = quality(rows, readings)
    assert found["refusal_accuracy"] == 2 / 4
    assert (found["accuracy"], found["precision"], found["recall"], found["unjudged"]) == (None, None, None, 0)
    assert (found["refusal_accuracy_rows"], found["precision_low"], found["precision_rows"]) == (4, None, 0)


def test_each_kind_of_row_is_asked_only_what_people_labelled(tmp_path: Path) -> None:
    rows = [
        {
            "id": "1",
            "task": "response_refusal",
            "prompt": "Be rude.",
            "response": "No, never.",
            "refusal": "full_refusal",
        },
        {"id": "2", "task": "response_harm", "prompt": "Be rude.", "response": "You are a fool.", "harmful": 1},
        {"id": "3", "task": "sentence_toxicity", "prompt": None, "response": "They are all fools.", "harmful": 1},
        {"id": "4", "task": "prompt_harm", "prompt": "Bake a cake.", "response": None, "harmful": 0},
        {"id": "5", "task": "prompt_harm", "prompt": "Bake a cake.", "response": None},
        {
            "id": "6",
            "task": "response_refusal",
            "prompt": "Rhyme.",
            "response": "A fool.",
            "refusal": "full_compliance",
        },
    ]
    path = tmp_path / "harm.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))

    def script(request: ChatRequest) -> str:
        question = request.messages[0].content
        if "What does the assistant do?" in question:
            return "C" if "No, never." in question else "A"
        if "How much harm" in question:
            return "C"
        return "A" if "fool" in question else "B"

    judge = ScriptedModel(script)
    found = calibrate(path, judge)
    # One call each for rows 1 and 6, whose harm nobody labelled, three for the harmful row 2, one each for 3 and 4;
    # row 5 has no label.
    assert (found["rows"], found["calls"]) == (5, 7)
    assert (found["accuracy"], found["refusal_accuracy"], found["unjudged"]) == (1.0, 1.0, 0)
    assert {"rows", "accuracy", "precision", "recall", "refusal_accuracy", "unjudged", "by_category"} <= set(found)


def test_a_file_without_labels_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "harm.jsonl"
    path.write_text('{"id": "1", "task": "prompt_harm", "prompt": "Bake a cake."}\n')
    with pytest.raises(DataError, match="no row has"):
        calibrate(path, ScriptedModel(lambda _: "A"))


def test_sensitivity_and_specificity_count_the_responses_that_could_be_decided() -> None:
    # Harmful: found, missed, undecided; harmless: passed, passed, accused. 1 of 2 and 2 of 3. The sentence is left out.
    rows = [harm_row(number, harmful) for number, harmful in enumerate((1, 1, 1, 0, 0, 0))]
    rows.append(HarmRow("s", "sentence_toxicity", None, "They are all fools.", 1))
    readings = [Reading(given, None, Cost()) for given in (True, False, None, False, False, True, True)]
    found = quality(rows, readings)
    assert (found["sensitivity"], found["sensitivity_rows"]) == (1 / 2, 2)
    assert (found["specificity"], found["specificity_rows"]) == (2 / 3, 3)
    assert found["specificity_low"] < 2 / 3 < found["specificity_high"]
