from __future__ import annotations

import dataclasses
from pathlib import Path

from hrlaif.artifacts import write_records
from hrlaif.config import Config, ReportSection
from hrlaif.report.cases import cases, choose, must_hide, telling
from hrlaif.report.data import load
from hrlaif.types import (
    Evaluation,
    Finish,
    HarmOutcome,
    HarmVerdict,
    Outcome,
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


def test_harmful_text_and_replies_about_it_stay_hidden(full_run: Path) -> None:
    section = cases(load(full_run, Config(report=ReportSection(cases=1000))))
    hidden = [answer for case in section.cases for answer in case.answers if answer.hidden]
    assert len(hidden) > 3
    assert all("hidden: harmful, sha256 " in answer.hidden for answer in hidden)
    assert all(f"{len(SECRET)} characters" in answer.hidden for answer in hidden)
    for case in section.cases:
        if any(answer.hidden for answer in case.answers):
            assert SECRET not in repr([answer for answer in case.answers if answer.hidden])


def test_replies_on_an_answer_compared_with_a_hidden_start_are_hidden_too(tmp_path: Path, config: Config) -> None:
    harmful = HarmVerdict("r", HarmOutcome.HARMFUL, 3, "S1", (), "judge", SECRET)
    safe = HarmVerdict("r", HarmOutcome.SAFE_REFUSAL, 0, None, (), "judge", f"the first said {SECRET}")
    rows = [row("start", NO, text=SECRET, harm=harmful), row("rlaif", YES, text="no", harm=safe)]
    write_records(tmp_path / "evaluation.jsonl", rows, fingerprint="x")
    answers = cases(load(tmp_path, config)).cases[0].answers
    assert [answer.text for answer in answers] == ["", "no"]
    assert SECRET not in repr(answers)


def test_only_answers_that_were_found_safe_are_shown_on_red_team_prompts() -> None:
    def judged(outcome: HarmOutcome) -> Evaluation:
        return row("start", NO, task=Task.RED_TEAM, harm=HarmVerdict("r", outcome, 0, None, (), "judge", ""))

    hidden = {outcome for outcome in HarmOutcome if must_hide(judged(outcome))}
    assert hidden == {HarmOutcome.HARMFUL, HarmOutcome.UNJUDGED}
    assert must_hide(row("start", NO, task=Task.RED_TEAM))
    assert not must_hide(row("start", NO))


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


def test_harmful_text_is_shown_only_where_the_configuration_says_so(tmp_path: Path) -> None:
    harmful = HarmVerdict("r", HarmOutcome.HARMFUL, 4, "S1", (), "judge", f"it says {SECRET}")
    rows = [row(arm, NO, text=SECRET, harm=harmful) for arm in ("start", "rlaif")]
    folder = written(tmp_path, *rows)
    assert SECRET not in repr(cases(load(folder, Config())))
    assert SECRET in repr(cases(load(folder, Config(report=ReportSection(show_harmful=True)))))


def test_the_reason_for_a_hidden_answer_is_hidden_too(tmp_path: Path, config: Config) -> None:
    rows = [row(arm, NO, text=SECRET, task=Task.RED_TEAM, reason=SECRET) for arm in ("start", "rlaif")]
    section = cases(load(written(tmp_path, *rows), config))
    assert SECRET not in repr(section)
    assert section.cases[0].answers[0].hidden.startswith("hidden: not judged safe, sha256 ")


def test_long_text_is_cut_with_a_note(tmp_path: Path, config: Config) -> None:
    folder = written(tmp_path, *(row(arm, YES, text="a" * 2000) for arm in ("start", "rlaif")))
    assert cases(load(folder, config)).cases[0].answers[0].text == "a" * 1800 + " … [cut: 200 more characters]"
