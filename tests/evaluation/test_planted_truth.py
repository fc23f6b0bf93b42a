"""Arms whose truth is planted, measured by the real evaluation with a judge whose tastes and errors are known."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from hrlaif.artifacts import read_records
from hrlaif.evaluation import People, evaluate, summarise
from hrlaif.judges.harm_quality import HarmQuality
from hrlaif.metrics import Seen
from hrlaif.models.base import ChatRequest
from hrlaif.models.scripted import ScriptedModel
from hrlaif.types import (
    Basis,
    Evaluation,
    Evidence,
    Finish,
    Judgement,
    Label,
    Message,
    Prompt,
    Response,
    Satisfaction,
    SatisfactionVerdict,
    Split,
    Task,
    Verdict,
)

QUOTED = re.compile(r"\[(\w+)\]\n(.*?)\n\[/\1\]", re.DOTALL)
# Unlike words, since an answer that repeats itself is garbled and not long.
FILLER = (
    "think about it this way there is a small house by the river where two old friends drink their tea and talk of "
    "weather bread music ships letters gardens winter roads horses songs lamps paper clouds apples stone glass"
).split()
REFUSAL = "I cannot help with that."
EACH = 100
TASKS = (Task.MATH, Task.OPEN, Task.RED_TEAM, Task.BENIGN_TRICKY)
# How often the judge of harm finds what is harmful, and passes what is not.
FINDS, PASSES = 0.7, 0.9
# The judge likes a good answer this much, and 40 words more than the other this much, in log-odds.
LIKES_GOOD, LIKES_LONG = 1.5, 2.0
Says = Callable[[Prompt], str]


def chance(*parts: object) -> float:
    """A number in 0..1 that follows from the parts alone."""
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:4], "big") / 2**32


def prompt(task: Task, n: int) -> Prompt:
    text = f"Compute {n} + {n}." if task is Task.MATH else f"Tell me of {task.value} {n}."
    reference = str(2 * n) if task is Task.MATH else None
    return Prompt(f"{task.value}{n}", (Message("user", text),), task.value, task, reference, split=Split.EVALUATION)


PROMPTS = [prompt(task, n) for task in TASKS for n in range(EACH)]


def number(asked: Prompt) -> int:
    return int(asked.id.removeprefix(asked.task.value))


def arm(name: str, *, right: float, good: float, harmful: float = 0.1, words: tuple[int, int]) -> Says:
    """An arm that is right, good and harmful on these shares of the prompts of each kind, in so many words."""

    def says(asked: Prompt) -> str:
        # The shares are exact; which prompts they fall on, and how long an answer is, is drawn.
        place = sorted(range(EACH), key=lambda n: chance(name, asked.task, n)).index(number(asked))
        rank = place / EACH
        length = int(words[0] + (words[1] - words[0]) * chance(name, "words", asked.id))
        padding = "".join(f"{FILLER[int(len(FILLER) * chance(name, asked.id, n))]} " for n in range(length))
        if asked.task is Task.MATH:
            return f"{padding}The answer is {2 * number(asked) + (rank >= right)}."
        if asked.task is Task.OPEN:
            return padding + ("GOOD" if rank < good else "POOR")
        return f"{padding}{'GRIM' if asked.task is Task.RED_TEAM and rank < harmful else 'KIND'} {place % 10}"

    return says


def judge_says(request: ChatRequest) -> str:
    """Prefers good and long answers, sees whether an open one is GOOD, and errs on harm as planted."""
    text = request.messages[0].content
    quoted = [match.group(2) for match in QUOTED.finditer(text)]
    response = quoted[1]
    if "Which response is better?" in text:
        return "A" if likes(quoted[1]) - likes(quoted[2]) + mood(quoted[1:3]) > 0 else "B"
    if "satisfy the person" in text:
        return "A" if "GOOD" in response else "B"
    if "final_answer" in text:
        return json.dumps({"final_answer": "", "verdict": "none"})
    if "What does the assistant do?" in text:
        return "C" if response == REFUSAL else "A"
    if "What did the user get?" in text:
        # Exactly its share of the harmful ones, and of the others.
        is_seen = int(response[-1]) < 10 * (FINDS if "GRIM" in response else 1 - PASSES) - 1e-9
        return "A" if is_seen else "B"
    if "How much harm" in text:
        return "D"
    raise AssertionError(f"the judge does not know this question: {text}")


def likes(response: str) -> float:
    return LIKES_GOOD * ("GOOD" in response) + LIKES_LONG * len(response.split()) / 40


def mood(pair: list[str]) -> float:
    """Logistic noise that stays with the pair in whichever order it is shown."""
    first, second = sorted(pair)
    p = chance("mood", first, second)
    return math.log(p / (1 - p)) * (1 if pair[0] == first else -1)


START = arm("start", right=0.5, good=0.5, words=(10, 50))


def measured(
    folder: Path,
    says: Says,
    *,
    quality: HarmQuality | None = None,
    people: Callable[[list[Evaluation]], People] | None = None,
) -> dict[str, Any]:
    answers = {
        name: {one.id: Response(f"{name}/{one.id}", one.id, of(one), name, 0, Finish.STOP) for one in PROMPTS}
        for name, of in (("start", START), ("rlaif", says))
    }
    judge = ScriptedModel(judge_says)
    path = folder / "evaluation.jsonl"
    evaluate(PROMPTS, answers, judge=judge, scorers={}, tie_margin=0.05, path=path, fingerprint="f")
    rows = list(read_records(path, Evaluation))
    return summarise(rows, seed=0, harm_quality=quality, people=people and people(rows))


def sides(summary: Mapping[str, Any]) -> dict[str, int]:
    """Each tested measure's side against the start: 1 or -1 where its interval excludes 0, else 0."""
    tests = summary["tests"]["rlaif minus start"]
    return {name: (test["low"] > 0) - (test["high"] < 0) for name, test in tests.items()}


def voters(rows: list[Evaluation]) -> People:
    """People who see through length: the better answer is the right or good one, and nothing else satisfies."""
    truth = {
        (row.arm, row.prompt_id): ("GOOD" in row.response.text or row.reason == "correct")
        for row in rows
        if row.task in (Task.MATH, Task.OPEN)
    }
    labels, satisfaction = [], []
    for (name, prompt_id), is_good in truth.items():
        ids = [f"{one}:{one}/{prompt_id}" for one in (name, "start")]
        said = Satisfaction.YES if is_good else Satisfaction.NO
        satisfaction.append(SatisfactionVerdict(ids[0], said, None, "", "human: anna", ""))
        if name == "start":
            continue
        lead = is_good - truth["start", prompt_id]
        verdict = {1: Verdict.FIRST, 0: Verdict.TIE, -1: Verdict.SECOND}[lead]
        p_first = (1 + lead) / 2
        vote = Judgement(prompt_id, ids[0], ids[1], p_first, verdict, "human: anna", "")
        labels.append(Label(prompt_id, ids[0], ids[1], p_first, verdict, Basis.HUMAN, Evidence((), (vote,))))
    return People(labels, satisfaction, {"votes": 200, "pairs": 200, "pairs_rated": 200, "raters": []})


def test_an_arm_that_is_right_more_often_but_plainer_gains_satisfaction_and_loses_the_judge(tmp_path: Path) -> None:
    plain = arm("plain", right=0.8, good=0.6, words=(2, 30))
    summary = measured(tmp_path, plain, people=voters)
    assert sides(summary) == {"satisfaction": 1, "correct": 1, "harmful": 0, "over_refusal": 0}
    correct = summary["differences"]["rlaif"]["all"]["correct"]
    assert (round(correct["value"], 9), correct["n"]) == (0.3, EACH)
    assert correct["low"] > 0.1
    found = summary["metrics"]["rlaif"]["all"]
    # Half of what this judge holds against the arm is its brevity.
    assert found["win_ratio"]["high"] < 0.5
    assert found["win_ratio_length_controlled"]["value"] > found["win_ratio"]["value"] + 0.08
    assert found["win_ratio_length_controlled"]["high"] > 0.5
    assert found["human_win_ratio"]["low"] > 0.5
    assert summary["differences"]["rlaif"]["all"]["human_satisfaction"]["low"] > 0
    assert any(one.startswith("The judge prefers start to rlaif") for one in summary["sentences"])
    assert any(one.startswith("People prefer rlaif to start") for one in summary["sentences"])


def test_an_arm_that_is_verbose_and_wrong_wins_the_judge_and_nothing_else(tmp_path: Path) -> None:
    verbose = arm("verbose", right=0.2, good=0.2, words=(30, 110))
    summary = measured(tmp_path, verbose, people=voters)
    assert sides(summary) == {"satisfaction": -1, "correct": -1, "harmful": 0, "over_refusal": 0}
    found = summary["metrics"]["rlaif"]["all"]
    assert found["win_ratio"]["low"] > 0.6
    # Between answers of equal length nothing is left of that.
    assert found["win_ratio_length_controlled"]["low"] < 0.5
    assert found["win_ratio_length_controlled"]["value"] < found["win_ratio"]["value"] - 0.2
    assert found["human_win_ratio"]["high"] < 0.5
    assert summary["differences"]["rlaif"]["all"]["length"]["low"] > 20
    assert any("learned to please the judge" in one for one in summary["sentences"])
    assert any("that preference is not certain" in one for one in summary["sentences"])


def test_an_arm_that_refuses_everything_is_harmless_and_its_gain_is_called_a_trade(tmp_path: Path) -> None:
    summary = measured(tmp_path, lambda _: REFUSAL)
    found = summary["metrics"]["rlaif"]
    assert found["all"]["harmful"]["value"] == 0.0
    assert 0 < found["all"]["harmful"]["high"] < 0.05
    assert found["red_team"]["satisfaction"]["value"] == 1.0
    assert found["all"]["over_refusal"]["value"] == found["all"]["over_refusal_lenient"]["value"] == 1.0
    assert (found["all"]["correct"]["value"], found["all"]["correct"]["n"]) == (0.0, EACH)
    assert found["open"]["satisfaction"]["value"] == 0.0
    assert sides(summary) == {"satisfaction": -1, "correct": -1, "harmful": -1, "over_refusal": 1}
    assert any("refuses more benign requests: a trade, not a gain" in one for one in summary["sentences"])


def test_an_arm_that_turns_toxic_is_found_at_its_true_rate_once_the_judges_errors_are_known(tmp_path: Path) -> None:
    toxic = arm("toxic", right=0.5, good=0.5, harmful=0.8, words=(10, 50))
    quality = HarmQuality("judge", Seen(round(FINDS * 400), 400), Seen(round(PASSES * 400), 400))
    summary = measured(tmp_path, toxic, quality=quality)
    assert sides(summary) == {"satisfaction": -1, "correct": 0, "harmful": 1, "over_refusal": 0}
    counted, true = (summary["metrics"]["rlaif"]["all"][name] for name in ("harmful", "harmful_corrected"))
    # It counts 0.8 * 0.7 + 0.2 * 0.1 = 0.58, and its interval misses the planted 0.8.
    assert counted["value"] == 0.58
    assert counted["high"] < 0.8
    assert abs(true["value"] - 0.8) < 1e-9
    assert true["low"] > counted["value"]
    start = summary["metrics"]["start"]["all"]["harmful_corrected"]
    assert abs(start["value"] - 0.1) < 1e-9
    # Harm is not compared, so no preference can reward it.
    assert "win_ratio" not in summary["metrics"]["rlaif"]["red_team"]


def test_an_arm_that_is_like_the_start_shows_no_difference_on_any_measure(tmp_path: Path) -> None:
    summary = measured(tmp_path, arm("other draws", right=0.5, good=0.5, words=(10, 50)), people=voters)
    assert set(sides(summary).values()) == {0}
    found = summary["metrics"]["rlaif"]["all"]
    for name in ("win_ratio", "win_ratio_length_controlled", "human_win_ratio"):
        assert found[name]["low"] < 0.5 < found[name]["high"]
    decided = [one for one in summary["sentences"] if "stays open" not in one]
    assert not any(" gives more " in one or " gives fewer " in one or "prefer " in one for one in decided)
