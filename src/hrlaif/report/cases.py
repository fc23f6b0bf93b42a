"""Cases side by side: the prompts on which the arms differ most tellingly, with the evidence on each answer."""

from __future__ import annotations

from hrlaif.report.data import START, RunData
from hrlaif.report.hidden import digest, hides_answer, hides_prompt, placeholder
from hrlaif.report.layout import Answer, Case, Section
from hrlaif.report.wording import count, percent, shown, tidy
from hrlaif.types import Evaluation, Outcome, Satisfaction, Split, Verdict

QUESTION_CHARS, ANSWER_CHARS, REPLY_CHARS = 1500, 1800, 900
_MARKS = {
    Satisfaction.YES: "✓ satisfies",
    Satisfaction.NO: "✗ does not satisfy",
    Satisfaction.UNREADABLE: "? unreadable",
    None: "not asked",
}
Answers = dict[str, Evaluation]


def cases(run: RunData) -> Section:
    """The most telling prompts, spread over the categories; `report.cases` of them."""
    wanted = run.config.report.cases
    if not run.evaluations or not wanted:
        reason = "evaluation.jsonl" if wanted else "cases, since report.cases is 0"
        return Section("cases", "Cases side by side", missing=reason)
    chosen = choose(run, wanted)
    return Section(
        "cases",
        "Cases side by side",
        lead=(
            "Chosen because the arms differ, not to be representative: first where satisfaction differs, then where "
            "the judge and the verifier disagree, in turn from each category.",
        ),
        cases=tuple(_case(run, answers) for answers in chosen),
    )


def choose(run: RunData, wanted: int) -> list[Answers]:
    """The `wanted` most telling prompts, taken from the categories in turn; the same data gives the same choice."""
    prompts: dict[str, Answers] = {}
    for row in run.rows(Split.EVALUATION):
        prompts.setdefault(row.prompt_id, {})[row.arm] = row
    by_category: dict[str, list[Answers]] = {}
    for prompt_id in sorted(prompts, key=lambda key: (-telling(prompts[key]), key)):
        answers = prompts[prompt_id]
        if len(answers) > 1:
            by_category.setdefault(next(iter(answers.values())).category, []).append(answers)
    queues = sorted(by_category.items(), key=lambda item: (-telling(item[1][0]), item[0]))
    chosen: list[Answers] = []
    for rank in range(max((len(queue) for _, queue in queues), default=0)):
        chosen += [queue[rank] for _, queue in queues if rank < len(queue)]
    return chosen[:wanted]


def telling(answers: Answers) -> int:
    """How much a prompt says about the arms: differing satisfaction counts most, then a judge who prefers the wrong."""
    readings = {row.satisfied for row in answers.values()}
    points = 8 * ({Satisfaction.YES, Satisfaction.NO} <= readings)
    points += 4 * any(_misled(answers, arm) for arm in answers)
    points += 2 * (len({row.verdict for row in answers.values() if row.verdict}) > 1)
    points += len({row.response.text for row in answers.values()}) > 1
    return points


def _misled(answers: Answers, arm: str) -> bool:
    """The judge prefers this arm's answer although the verifier finds it wrong and the start's right."""
    row, start = answers[arm], answers.get(START)
    if start is None or row.verification is None or start.verification is None:
        return False
    wrong, right = row.verification.outcome is Outcome.WRONG, start.verification.outcome is Outcome.CORRECT
    return row.verdict is Verdict.FIRST and wrong and right


def _case(run: RunData, answers: Answers) -> Case:
    first = next(iter(answers.values()))
    prompt = run.prompts.get(first.prompt_id)
    is_hidden = hides_prompt(prompt, first.task) and not run.show_harmful
    question = _cut(prompt.question, QUESTION_CHARS) if prompt else "(the prompt is not in prompts.jsonl)"
    return Case(
        prompt_id=tidy(first.prompt_id, 60),
        category=tidy(first.category, 60),
        question=placeholder(prompt.hazard if prompt else None, first.prompt_id) if is_hidden else question,
        reference=tidy(prompt.reference, 200) if prompt and prompt.reference and not is_hidden else "",
        why=_why(answers),
        answers=tuple(_answer(run, answers, arm) for arm in run.series if arm in answers),
    )


def _why(answers: Answers) -> str:
    misled = [arm for arm in answers if _misled(answers, arm)]
    if misled:
        return f"The judge prefers {misled[0]}'s answer to the start's, although it is wrong and the start's is right."
    by_reading = {kind: [a for a, row in answers.items() if row.satisfied is kind] for kind in Satisfaction}
    if by_reading[Satisfaction.YES] and by_reading[Satisfaction.NO]:
        yes, no = ", ".join(by_reading[Satisfaction.YES]), ", ".join(by_reading[Satisfaction.NO])
        return f"Satisfying: {yes}. Not satisfying: {no}."
    if len({row.response.text for row in answers.values()}) == 1:
        return "All arms gave the same answer."
    return "The answers differ; their satisfaction does not."


def _answer(run: RunData, answers: Answers, arm: str) -> Answer:
    row = answers[arm]
    prompt = run.prompts.get(row.prompt_id)
    hide = hides_answer(row, prompt) and not run.show_harmful
    start_hidden = START in answers and hides_answer(answers[START], prompt) and not run.show_harmful
    # A judge's reply may quote what it read, so it is hidden with any answer that it saw.
    replies = (
        () if hide or start_hidden else tuple(_cut(reply, REPLY_CHARS) for reply in _replies(row) if reply.strip())
    )
    return Answer(
        arm=arm,
        text="" if hide else _cut(row.response.text, ANSWER_CHARS) or "(empty)",
        verdict=_MARKS[row.satisfied],
        good=None if row.satisfied in (None, Satisfaction.UNREADABLE) else row.satisfied is Satisfaction.YES,
        facts=tuple(_facts(row, is_hidden=hide)),
        replies=replies,
        hidden=placeholder(prompt.hazard if prompt else None, row.response.id) if hide else "",
    )


def _facts(row: Evaluation, *, is_hidden: bool) -> list[str]:
    facts = [f"{count(row.words)} words"]
    if is_hidden:
        facts.append(digest(row.response.text))
    if row.verification is not None:
        seen = row.verification.found is not None and not is_hidden
        found = f", found “{tidy(row.verification.found or '', 80)}”" if seen else ""
        facts.append(f"verifier ({tidy(row.verification.verifier, 40)}): {row.verification.outcome.value}{found}")
    if row.harm is not None:
        severity = f", severity {row.harm.severity} of 5" if row.harm.severity else ""
        facts.append(f"harm judge: {row.harm.outcome.value.replace('_', ' ')}{severity}")
    if row.reason.strip() and row.harm is None and not is_hidden:
        facts.append(f"why: {tidy(row.reason, 300)}")
    if row.p_win is not None:
        facts.append(f"judge: better than the start's with probability {percent(row.p_win, 0)}")
    if row.reward is not None:
        beside = f" (start's answer {row.start_reward:.2f})" if row.start_reward is not None else ""
        facts.append(f"reward {row.reward:.2f}{beside}")
    return facts


def _replies(row: Evaluation) -> list[str]:
    return [judgement.reply for judgement in row.judgements] + ([row.harm.reply] if row.harm else [])


def _cut(text: str, limit: int) -> str:
    clean = shown(text).strip()
    if len(clean) <= limit:
        return clean
    return clean[:limit].rstrip() + f" … [cut: {count(len(clean) - limit)} more characters]"
