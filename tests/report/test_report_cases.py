from __future__ import annotations

import dataclasses
import re
from pathlib import Path

from hrlaif.artifacts import write_records
from hrlaif.config import Config, ReportSection
from hrlaif.report.cases import cases, choose, telling
from hrlaif.report.data import load
from hrlaif.report.hidden import hides_answer, hides_prompt, placeholder
from hrlaif.types import (
    Evaluation,
    Finish,
    HarmOutcome,
    HarmVerdict,
    Message,
    Outcome,
    Prompt,
    Response,
    Satisfaction,
    Task,
    Verdict,
    Verification,
)

SECRET = "HARMFUL-TEXT-THAT-MUST-NOT-BE-SHOWN"
YES, NO = Satisfaction.YES, Satisfaction.NO


def row(arm: str, satisfied: Satisfaction, *, text: str = "same", prompt_id: str = "p", **more: object) -> Evaluation:
    response = Response(f"{prompt_id}/{arm}", prompt_id, text, arm, 0, Finish.STOP)
    return dataclasses.replace(
        Evaluation(arm, prompt_id, "math", Task.MATH, response, 1, 1, satisfied, "because"),
        **more,  # type: ignore[arg-type]
    )


def by_arm(*rows: Evaluation) -> dict[str, Evaluation]:
    return {found.arm: found for found in rows}


def checked(outcome: Outcome) -> Verification:
    return Verification("r", outcome, "4", "math")


def test_a_prompt_on_which_satisfaction_differs_tells_more_than_one_on_which_only_the_text_does() -> None:
    alike = by_arm(row("start", YES), row("rlaif", YES))
    other_text = by_arm(row("start", YES), row("rlaif", YES, text="other"))
    differs = by_arm(row("start", YES), row("rlaif", NO))
    assert telling(alike) < telling(other_text) < telling(differs)


def test_a_judge_who_prefers_the_wrong_answer_tells_more_than_one_who_does_not() -> None:
    start = row("start", YES, verification=checked(Outcome.CORRECT))
    wrong = row("rlaif", NO, verification=checked(Outcome.WRONG), verdict=Verdict.FIRST)
    right_judge = dataclasses.replace(wrong, verdict=Verdict.SECOND)
    assert telling(by_arm(start, wrong)) > telling(by_arm(start, right_judge))


def test_cases_come_from_each_category_in_turn_and_in_the_wanted_number(full_run: Path, config: Config) -> None:
    chosen = choose(load(full_run, config), 10)
    assert len(chosen) == 10
    assert len({answers["start"].category for answers in chosen}) == 10


def test_training_prompts_are_no_cases(full_run: Path, config: Config) -> None:
    run = load(full_run, config)
    assert all(found.satisfied is not None for answers in choose(run, 1000) for found in answers.values())


def test_red_team_prompts_and_all_that_answers_them_stand_as_placeholders(full_run: Path) -> None:
    section = cases(load(full_run, Config(report=ReportSection(cases=1000))))
    assert SECRET not in repr(section)
    found = [case for case in section.cases if case.category == "unsafe request"]
    assert len(found) == 12
    for case in found:
        assert re.fullmatch(r"\[hidden: hazard S\d+, id unsafe-request-\d+\]", case.question)
        for answer in case.answers:
            assert answer.hidden == f"{case.question[:-1]}/{answer.arm}/0]"
            assert any(fact.startswith("sha256 ") for fact in answer.facts)
            assert not answer.replies


def test_replies_on_an_answer_compared_with_a_hidden_start_are_hidden_too(tmp_path: Path, config: Config) -> None:
    harmful = HarmVerdict("r", HarmOutcome.HARMFUL, 3, "S1", (), "judge", SECRET)
    safe = HarmVerdict("r", HarmOutcome.SAFE_REFUSAL, 0, None, (), "judge", f"the first said {SECRET}")
    rows = [row("start", NO, text=SECRET, harm=harmful), row("rlaif", YES, text="no", harm=safe)]
    write_records(tmp_path / "evaluation.jsonl", rows, fingerprint="x")
    answers = cases(load(tmp_path, config)).cases[0].answers
    assert [answer.text for answer in answers] == ["", "no"]
    assert SECRET not in repr(answers)


def test_no_answer_to_an_attack_is_shown_and_to_a_prompt_that_looks_unsafe_only_one_that_was_judged_safe() -> None:
    def judged(outcome: HarmOutcome | None, task: Task) -> Evaluation:
        return row("start", NO, task=task, harm=outcome and HarmVerdict("r", outcome, 0, None, (), "judge", ""))

    outcomes = (*HarmOutcome, None)
    assert all(hides_answer(judged(outcome, Task.RED_TEAM), None) for outcome in outcomes)
    shown = {outcome for outcome in outcomes if not hides_answer(judged(outcome, Task.BENIGN_TRICKY), None)}
    assert shown == {HarmOutcome.SAFE_HELPFUL, HarmOutcome.SAFE_REFUSAL, HarmOutcome.EVASIVE}
    assert hides_answer(judged(HarmOutcome.HARMFUL, Task.OPEN), None)
    assert not hides_answer(row("start", NO), None)


def test_a_prompt_with_a_hazard_is_hidden_whatever_its_task_and_a_placeholder_repeats_no_unknown_hazard() -> None:
    prompt = Prompt("p", (Message("user", SECRET),), "c", Task.OPEN, hazard="S3")
    assert hides_prompt(prompt, Task.OPEN)
    assert not hides_prompt(dataclasses.replace(prompt, hazard=None), Task.OPEN)
    assert placeholder("S3", "p/1") == "[hidden: hazard S3, id p/1]"
    assert placeholder(SECRET, "p/1") == placeholder(None, "p/1") == "[hidden: hazard not named, id p/1]"


def test_the_evidence_on_an_answer_is_shown(full_run: Path, config: Config) -> None:
    run = load(full_run, config)
    first = cases(run).cases[0]
    facts = " ".join(fact for answer in first.answers for fact in answer.facts)
    assert "verifier (math)" in facts
    assert "judge: better than the start's with probability 70\u00a0%" in facts
    assert first.reference == next(
        str(prompt.reference) for prompt in run.prompts.values() if prompt.id == first.prompt_id
    )


def test_no_cases_are_wanted_where_the_configuration_says_0(full_run: Path) -> None:
    section = cases(load(full_run, Config(report=ReportSection(cases=0))))
    assert section.cases == ()
    assert "report.cases is 0" in section.missing


def written(folder: Path, *rows: Evaluation) -> Path:
    write_records(folder / "evaluation.jsonl", rows, fingerprint="x")
    return folder


def test_harmful_text_is_shown_only_where_it_is_asked_for(tmp_path: Path, config: Config) -> None:
    harmful = HarmVerdict("r", HarmOutcome.HARMFUL, 4, "S1", (), "judge", f"it says {SECRET}")
    rows = [row(arm, NO, text=SECRET, harm=harmful) for arm in ("start", "rlaif")]
    folder = written(tmp_path, *rows)
    assert SECRET not in repr(cases(load(folder, config)))
    assert SECRET in repr(cases(load(folder, config, show_harmful=True)))


def test_reason_and_found_answer_of_a_hidden_answer_are_hidden_too(tmp_path: Path, config: Config) -> None:
    found = Verification("r", Outcome.WRONG, SECRET, "judge")
    rows = [
        row(arm, NO, text=SECRET, task=Task.RED_TEAM, reason=SECRET, verification=found) for arm in ("start", "rlaif")
    ]
    section = cases(load(written(tmp_path, *rows), config))
    assert SECRET not in repr(section)
    assert section.cases[0].answers[0].hidden == "[hidden: hazard not named, id p/start]"


def test_long_text_is_cut_with_a_note(tmp_path: Path, config: Config) -> None:
    folder = written(tmp_path, *(row(arm, YES, text="a" * 2000) for arm in ("start", "rlaif")))
    assert cases(load(folder, config)).cases[0].answers[0].text == "a" * 1800 + " … [cut: 200 more characters]"
