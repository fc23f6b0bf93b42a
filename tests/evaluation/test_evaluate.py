"""A judge whose opinions are known: what one answer is found to be, and what that costs."""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import pytest

from hrlaif.artifacts import Journal, read_manifest, read_records
from hrlaif.errors import CallError, DataError
from hrlaif.evaluation import evaluate, summarise
from hrlaif.judges.harm_cuts import HarmCuts
from hrlaif.judges.panel import Judge, Panel
from hrlaif.models.base import ChatRequest
from hrlaif.models.scripted import ScriptedModel
from hrlaif.types import (
    Evaluation,
    Finish,
    HarmOutcome,
    Message,
    Outcome,
    Prompt,
    Response,
    Satisfaction,
    Split,
    Task,
    Verdict,
)

REFUSAL = "I cannot help with that."
QUOTED = re.compile(r"\[(\w+)\]\n(.*?)\n\[/\1\]", re.DOTALL)
YES, NO, UNREADABLE = Satisfaction.YES, Satisfaction.NO, Satisfaction.UNREADABLE


def opinion(request: ChatRequest) -> str:
    """Prefers the longer response, calls BAD unsatisfying and GRIM harmful, and reads an answer after "so:" alone."""
    text = request.messages[0].content
    quoted = [match.group(2) for match in QUOTED.finditer(text)]
    response = quoted[1]
    if "Which response is better?" in text:
        return "A" if len(quoted[1]) >= len(quoted[2]) else "B"
    if "satisfy the person" in text:
        return "B" if "BAD" in response or response == REFUSAL else "A"
    if "final_answer" in text:
        reference = text.split("Reference answer:\n")[1].split("\n")[0]
        found = response.split("so:")[1].strip() if "so:" in response else ""
        verdict = ("same" if found == reference else "different") if found else "none"
        return json.dumps({"final_answer": found, "verdict": verdict})
    if "What does the assistant do?" in text:
        return "C" if response == REFUSAL else "B" if "PARTLY" in response else "A"
    if "What did the user get?" in text:
        return "A" if "GRIM" in response else "B"
    if "How much harm" in text:
        return "E"
    raise AssertionError(f"the judge does not know this question: {text}")


def math(number: int) -> Prompt:
    question, reference = f"Compute {number} + {number}.", str(2 * number)
    return Prompt(f"m{number}", (Message("user", question),), "math", Task.MATH, reference, split=Split.EVALUATION)


def plain(task: Task, number: int = 0, split: Split = Split.EVALUATION) -> Prompt:
    return Prompt(f"{task.value}{number}", (Message("user", "Tell me."),), task.value, task, split=split)


def said(arm: str, prompt: Prompt, text: str, finish: Finish = Finish.STOP) -> Response:
    return Response(f"{arm}/{prompt.id}", prompt.id, text, arm, 0, finish)


def rows_of(
    path: Path, prompts: list[Prompt], judge: ScriptedModel, **texts: Callable[[Prompt], str]
) -> list[Evaluation]:
    """Evaluate arms given as functions from prompt to text."""
    answers = {arm: {prompt.id: said(arm, prompt, text(prompt)) for prompt in prompts} for arm, text in texts.items()}
    evaluate(prompts, answers, judge=judge, scorers={}, tie_margin=0.05, path=path, fingerprint="f")
    return list(read_records(path, Evaluation))


def one(path: Path, prompt: Prompt, text: str, start: str = "Fine.") -> tuple[Evaluation, ScriptedModel]:
    """The row of one arm's answer to one prompt, and the judge with the calls it got for that and the start's."""
    judge = ScriptedModel(opinion, name="known judge")
    rows = rows_of(path, [prompt], judge, start=lambda _: start, rlaif=lambda _: text)
    return rows[1], judge


@pytest.mark.parametrize(
    ("text", "satisfied", "outcome"),
    [
        ("The answer is 6.", YES, Outcome.CORRECT),
        ("The answer is 7.", NO, Outcome.WRONG),
        ("Well, well, so: 6", YES, Outcome.CORRECT),  # the rule reads nothing, the judge does
        ("I do not know.", NO, Outcome.UNREADABLE),  # nobody finds an answer
        ("", NO, Outcome.UNREADABLE),
    ],
)
def test_a_checkable_answer_satisfies_if_its_final_answer_is_correct(
    tmp_path: Path, text: str, satisfied: Satisfaction, outcome: Outcome
) -> None:
    row, _ = one(tmp_path / "e.jsonl", math(3), text)
    assert row.verification is not None
    assert (row.satisfied, row.verification.outcome) == (satisfied, outcome)
    assert row.verification.response_id == row.response.id


def test_a_correct_final_answer_costs_no_call_but_the_comparison(tmp_path: Path) -> None:
    row, judge = one(tmp_path / "e.jsonl", math(3), "The answer is 6.", start="The answer is 6")
    assert len(judge.requests) == 2
    assert row.cost.calls == 2


def test_an_answer_cut_off_before_its_end_does_not_satisfy_and_is_not_sent_to_the_judge(tmp_path: Path) -> None:
    judge, path, prompt = ScriptedModel(opinion), tmp_path / "e.jsonl", math(3)
    answers = {"start": {prompt.id: said("start", prompt, "I would begin by", Finish.LENGTH)}}
    evaluate([prompt], answers, judge=judge, scorers={}, tie_margin=0.05, path=path, fingerprint="f")
    row = next(read_records(path, Evaluation))
    assert (row.satisfied, row.reason) == (NO, "cut off before its final answer")
    assert judge.requests == []


def test_a_judge_that_fails_leaves_its_own_answer_unreadable_and_the_rest_alone(tmp_path: Path) -> None:
    def fail(_: ChatRequest) -> str:
        raise CallError("timed out")

    prompts = [math(3), plain(Task.OPEN), plain(Task.RED_TEAM), plain(Task.BENIGN_TRICKY)]
    rows = rows_of(
        tmp_path / "e.jsonl",
        prompts,
        ScriptedModel(fail),
        start=lambda _: "I do not know.",
        rlaif=lambda _: "The answer is 6.",
    )
    arm = {row.task: row for row in rows if row.arm == "rlaif"}
    assert arm[Task.MATH].satisfied is YES
    assert {arm[task].satisfied for task in (Task.OPEN, Task.RED_TEAM, Task.BENIGN_TRICKY)} == {UNREADABLE}
    assert arm[Task.OPEN].verdict is Verdict.UNREADABLE
    assert next(row for row in rows if row.task is Task.MATH and row.arm == "start").satisfied is UNREADABLE
    found = summarise(rows, seed=0)["metrics"]["rlaif"]["all"]
    assert "harmful" not in found
    assert found["unjudged"]["value"] == 1.0


@pytest.mark.parametrize(
    ("text", "red_team", "benign", "outcome"),
    [
        ("Here is a kind answer.", YES, YES, HarmOutcome.SAFE_HELPFUL),
        (REFUSAL, YES, NO, HarmOutcome.SAFE_REFUSAL),
        ("PARTLY: not all of it.", YES, NO, HarmOutcome.EVASIVE),
        ("", NO, NO, HarmOutcome.INCOHERENT),
    ],
)
def test_harmless_satisfies_on_red_team_prompts_and_helpful_on_benign_ones(
    tmp_path: Path, text: str, red_team: Satisfaction, benign: Satisfaction, outcome: HarmOutcome
) -> None:
    for task, expected in ((Task.RED_TEAM, red_team), (Task.BENIGN_TRICKY, benign)):
        row, _ = one(tmp_path / f"{task.value}.jsonl", plain(task), text)
        assert row.harm is not None
        assert (row.satisfied, row.harm.outcome) == (expected, outcome)


def test_an_attacks_answer_is_judged_with_the_cuts_of_the_judges_scores(tmp_path: Path) -> None:
    def outcome(cut: float) -> HarmOutcome:
        prompt, path = plain(Task.RED_TEAM), tmp_path / f"{cut}.jsonl"
        answers = {"start": {prompt.id: said("start", prompt, "GRIM plan.")}}
        cuts, judge = HarmCuts(harm=(cut, 0.0)), ScriptedModel(opinion)
        evaluate([prompt], answers, judge=judge, scorers={}, tie_margin=0, path=path, fingerprint="f", harm_cuts=cuts)
        (row,) = read_records(path, Evaluation)
        assert row.harm is not None
        return row.harm.outcome

    # A sure "harmful" and a sure "complies" weigh 3 log(0.99 / 0.01) = 13.8.
    assert (outcome(13.7), outcome(13.9)) == (HarmOutcome.HARMFUL, HarmOutcome.SAFE_HELPFUL)


def test_of_a_harmless_request_it_is_known_that_helping_does_no_harm(tmp_path: Path) -> None:
    attacked, _ = one(tmp_path / "attacked.jsonl", plain(Task.RED_TEAM), "GRIM plan.")
    harmless, _ = one(tmp_path / "harmless.jsonl", plain(Task.BENIGN_TRICKY), "GRIM plan.")
    assert attacked.harm is not None
    assert harmless.harm is not None
    assert (attacked.satisfied, attacked.harm.outcome) == (NO, HarmOutcome.HARMFUL)
    assert (harmless.satisfied, harmless.harm.outcome) == (YES, HarmOutcome.SAFE_HELPFUL)


def test_a_failed_answer_to_an_attack_is_unjudged_and_never_counts_as_safe(tmp_path: Path) -> None:
    prompt, path = plain(Task.RED_TEAM), tmp_path / "e.jsonl"
    answers = {"start": {prompt.id: said("start", prompt, "", Finish.FAILED)}}
    judge = ScriptedModel(opinion)
    evaluate([prompt], answers, judge=judge, scorers={}, tie_margin=0.05, path=path, fingerprint="f")
    summary = summarise(read_records(path, Evaluation), seed=0)
    assert "harmful" not in summary["metrics"]["start"]["all"]
    assert summary["metrics"]["start"]["all"]["unjudged"]["value"] == 1.0
    assert judge.requests == []


@pytest.mark.parametrize("failing", ["start", "rlaif"])
@pytest.mark.parametrize("task", [Task.OPEN, Task.MATH, Task.RED_TEAM, Task.BENIGN_TRICKY])
def test_an_answer_whose_call_failed_says_nothing_of_its_model(task: Task, failing: str, tmp_path: Path) -> None:
    prompt, path = math(1) if task is Task.MATH else plain(task), tmp_path / "e.jsonl"
    answers = {
        arm: {prompt.id: said(arm, prompt, *(("", Finish.FAILED) if arm == failing else ("Fine. The answer is 2.",)))}
        for arm in ("start", "rlaif")
    }
    evaluate([prompt], answers, judge=ScriptedModel(opinion), scorers={}, tie_margin=0.05, path=path, fingerprint="f")
    summary = summarise(read_records(path, Evaluation), seed=0)
    found = {arm: summary["metrics"][arm]["all"] for arm in answers}
    assert {arm: of_arm["unreadable"]["value"] for arm, of_arm in found.items()} == {
        arm: float(arm == failing) for arm in answers
    }
    assert "satisfaction" not in found[failing]
    assert "correct" not in found[failing]
    assert not [arm for arm in answers if "win_ratio" in found[arm]]


def test_the_same_text_is_a_tie_and_is_judged_once(tmp_path: Path) -> None:
    judge = ScriptedModel(opinion)
    same = {"start": lambda _: "Hello.", "rlaif": lambda _: "Hello.", "hrlaif": lambda _: "Hello."}
    rows = rows_of(tmp_path / "e.jsonl", [plain(Task.OPEN)], judge, **same)
    assert [row.verdict for row in rows] == [None, Verdict.TIE, Verdict.TIE]
    assert [row.satisfied for row in rows] == [YES, YES, YES]
    assert len(judge.requests) == 1
    assert [row.cost.calls for row in rows] == [1, 0, 0]


def test_arms_with_the_same_text_each_carry_the_finding_under_their_own_response(tmp_path: Path) -> None:
    prompts = [math(3), plain(Task.RED_TEAM)]
    rows = rows_of(
        tmp_path / "e.jsonl",
        prompts,
        ScriptedModel(opinion),
        start=lambda _: "The answer is 6.",
        rlaif=lambda _: "The answer is 6.",
    )
    found = [row.verification or row.harm for row in rows]
    assert [finding.response_id for finding in found if finding] == [row.response.id for row in rows]


def test_an_empty_answer_loses_to_any_and_ties_with_another_empty_one(tmp_path: Path) -> None:
    lost, judge = one(tmp_path / "a.jsonl", plain(Task.OPEN), " ")
    won, _ = one(tmp_path / "b.jsonl", plain(Task.OPEN), "Hi.", start="")
    tied, _ = one(tmp_path / "c.jsonl", plain(Task.OPEN), "", start="\n")
    assert [(row.verdict, row.p_win) for row in (lost, won, tied)] == [
        (Verdict.SECOND, 0.0),
        (Verdict.FIRST, 1.0),
        (Verdict.TIE, 0.5),
    ]
    assert len(judge.requests) == 1


def test_the_arm_that_the_judge_prefers_in_both_orders_wins(tmp_path: Path) -> None:
    row, _ = one(tmp_path / "e.jsonl", plain(Task.OPEN), "A much longer reply than that.")
    assert (row.verdict, row.p_win) == (Verdict.FIRST, 1.0)
    first, second = row.judgements
    assert (first.first_id, second.first_id) == ("rlaif/open0", "start/open0")


def test_a_panel_compares_and_the_judge_alone_measures(tmp_path: Path) -> None:
    # The first member prefers the longer response in both orders, the second the first place; the third says nothing.
    voters = [ScriptedModel(script, name=name) for name, script in (("a", opinion), ("b", lambda _: "A"), ("c", str))]
    panel = Panel((Judge(voters[0], weight=3.0), Judge(voters[1]), Judge(voters[2])))
    prompt, judge, path = plain(Task.OPEN), ScriptedModel(opinion, name="judge"), tmp_path / "e.jsonl"
    answers = {
        "start": {prompt.id: said("start", prompt, "Hi.")},
        "rlaif": {prompt.id: said("rlaif", prompt, "Hello!")},
    }
    evaluate([prompt], answers, judge=judge, panel=panel, scorers={}, tie_margin=0.05, path=path, fingerprint="f")
    row = next(row for row in read_records(path, Evaluation) if row.arm == "rlaif")
    # (3 * 1 + 1 * 0.5) / 4.
    assert (row.p_win, row.verdict) == (pytest.approx(0.875), Verdict.FIRST)
    assert [one.judge for one in row.judgements] == ["a", "a", "b", "b", "c", "c"]
    assert len(judge.requests) == 2
    assert all("satisfy the person" in request.messages[0].content for request in judge.requests)
    # Its own satisfaction and six votes.
    assert row.cost.calls == 7
    manifest = read_manifest(path)
    assert manifest is not None
    assert (manifest["judge"], manifest["compared_by"]) == ("judge", "panel: a, b, c")


class ByLength:
    """A reward model whose score is the number of characters."""

    def __init__(self) -> None:
        self.calls = 0

    def score(self, conversations: Iterable[tuple[tuple[Message, ...], str]]) -> list[float]:
        self.calls += 1
        return [float(len(text)) for _, text in conversations]


def test_each_arm_is_scored_by_its_own_reward_model_in_one_batch_and_training_prompts_by_nothing_else(
    tmp_path: Path,
) -> None:
    prompts = [plain(Task.OPEN), plain(Task.OPEN, 1, Split.TRAIN), plain(Task.OPEN, 2)]
    answers = {
        "start": {prompt.id: said("start", prompt, "12345") for prompt in prompts},
        "rlaif": {prompts[n].id: said("rlaif", prompts[n], text) for n, text in enumerate(("123", "1234567", " "))},
    }
    scorer, judge, path = ByLength(), ScriptedModel(opinion), tmp_path / "e.jsonl"
    evaluate(prompts, answers, judge=judge, scorers={"rlaif": scorer}, tie_margin=0.05, path=path, fingerprint="f")
    rows = list(read_records(path, Evaluation))
    found = {row.prompt_id: (row.reward, row.start_reward) for row in rows if row.arm == "rlaif"}
    assert found == {"open0": (3.0, 5.0), "open1": (7.0, 5.0), "open2": (None, 5.0)}
    assert scorer.calls == 1
    trained = [row for row in rows if row.prompt_id == "open1"]
    assert [(row.satisfied, row.verdict) for row in trained] == [(None, None)] * 2
    # open0: two satisfaction calls and two orders; open2: the start's satisfaction alone, the other answer is empty.
    assert len(judge.requests) == 5


def test_length_is_counted_in_words_and_characters_of_the_text(tmp_path: Path) -> None:
    row, _ = one(tmp_path / "e.jsonl", plain(Task.OPEN), "Hi there, 你好!")
    assert (row.words, row.characters) == (4, 13)


def test_an_evaluation_that_died_goes_on_and_asks_nothing_again(tmp_path: Path) -> None:
    prompts = [plain(Task.OPEN, n) for n in range(4)]
    whole = rows_of(
        tmp_path / "whole.jsonl", prompts, ScriptedModel(opinion), start=lambda _: "Hi.", rlaif=lambda _: "Yo!"
    )
    path = tmp_path / "e.jsonl"
    with Journal(path, fingerprint="f") as journal:
        for index in (0, 1):
            journal.append(whole[2 * index : 2 * index + 2])
    judge = ScriptedModel(opinion)
    rows = rows_of(path, prompts, judge, start=lambda _: "Hi.", rlaif=lambda _: "Yo!")
    assert [row.prompt_id for row in rows] == [row.prompt_id for row in whole]
    assert len(judge.requests) == 2 * 4
    manifest = read_manifest(path)
    assert manifest is not None
    assert (manifest["rows"], manifest["arms"]) == (8, ["start", "rlaif"])


def test_a_missing_start_or_answer_is_an_error_that_names_it(tmp_path: Path) -> None:
    prompt, judge = plain(Task.OPEN), ScriptedModel(opinion)
    there = {prompt.id: said("start", prompt, "Hi.")}

    def run(answers: Mapping[str, Mapping[str, Response]]) -> None:
        evaluate([prompt], answers, judge=judge, scorers={}, tie_margin=0.05, path=tmp_path / "e", fingerprint="f")

    with pytest.raises(DataError, match="no answers of 'start'"):
        run({"rlaif": there})
    with pytest.raises(DataError, match="arm 'rlaif' has no answer to 1 of 1 prompts, the first is 'open0'"):
        run({"start": there, "rlaif": {}})
