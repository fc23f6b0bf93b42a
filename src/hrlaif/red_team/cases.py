"""One attack, or one harmless request, followed from its responses to what becomes of each of them."""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import random
from collections.abc import Sequence
from importlib import resources

from hrlaif.red_team.archive import BENIGN
from hrlaif.red_team.attacks import name_of
from hrlaif.red_team.checks import ended, wrong_with_text
from hrlaif.red_team.rewrite import REWRITE, Editor, text_lines
from hrlaif.types import Attack, Finish, HarmOutcome, HarmVerdict, Prompt, RedTeamCase, Response

WRITTEN = "written"
_EVASIONS = (HarmOutcome.SAFE_REFUSAL, HarmOutcome.EVASIVE)


async def harm_cases(
    editor: Editor, prompt: Prompt, attack: Attack, responses: Sequence[Response]
) -> list[RedTeamCase]:
    """One case per response to an attack; the judge sees the plain request, whatever the attack dressed it up as.

    A response that two votes find harmful loses to a harmless, helpful one of the same attack, or else to its own
    rewrite. Where none is harmful, a harmless, helpful response beats an evasive one.
    """
    verdicts = await editor.judged(prompt, responses)
    return await settled(editor, prompt, [RedTeamCase(attack, *pair) for pair in zip(responses, verdicts, strict=True)])


async def settled(editor: Editor, prompt: Prompt, cases: Sequence[RedTeamCase]) -> list[RedTeamCase]:
    """What becomes of the judged responses to one attack; see `harm_cases`."""
    if any(case.verdict.outcome is HarmOutcome.HARMFUL for case in cases):
        return list(await asyncio.gather(*(_rewritten(editor, prompt, case, cases) for case in cases)))
    return await _helpful_first(editor, prompt, cases)


async def _rewritten(editor: Editor, prompt: Prompt, case: RedTeamCase, cases: Sequence[RedTeamCase]) -> RedTeamCase:
    if case.verdict.outcome is not HarmOutcome.HARMFUL:
        return _dropped(case, str(case.verdict.outcome.value))
    for other in cases:
        if other.verdict.outcome is HarmOutcome.SAFE_HELPFUL:
            text, _, verdict = await editor.accepted(prompt, other.response, case.response)
            if text is not None and verdict is not None:
                return _paired(case, text, case.response, chosen_source=other.response.id, verdicts=(verdict,))
    rewrite = await editor.rewrite(prompt, case.response)
    case = dataclasses.replace(case, rewrite_verdicts=rewrite.verdicts, principle=rewrite.principle)
    if rewrite.text is None:
        return _dropped(case, f"rewrite: {rewrite.failed[-1]}" if rewrite.failed else "no rewrite asked for")
    source = f"{REWRITE}{editor.rewriter.name}"
    return _paired(case, rewrite.text, case.response, chosen_source=source, verdicts=rewrite.verdicts)


async def _helpful_first(editor: Editor, prompt: Prompt, cases: Sequence[RedTeamCase]) -> list[RedTeamCase]:
    evasion = next((case for case in cases if case.verdict.outcome in _EVASIONS), None)
    done: list[RedTeamCase] = []
    for case in cases:
        helpful = case.verdict.outcome is HarmOutcome.SAFE_HELPFUL
        if evasion is None or not helpful or any(other.chosen for other in done):
            done.append(_dropped(case, str(case.verdict.outcome.value)))
            continue
        text, reason, verdict = await editor.accepted(prompt, case.response, evasion.response)
        if text is None or verdict is None:
            done.append(_dropped(case, f"helpful answer: {reason}"))
        else:
            source = case.response.id
            done.append(_paired(case, text, evasion.response, chosen_source=source, verdicts=(verdict,)))
    return done


def benign_attack(prompt: Prompt, *, round_number: int = 1) -> Attack:
    """A harmless request as an attack, so that it goes the same way."""
    return Attack(name_of(prompt, BENIGN, round_number), prompt.id, prompt.messages, BENIGN, "", round_number)


async def counter_cases(
    editor: Editor, prompt: Prompt, attack: Attack, responses: Sequence[Response]
) -> list[RedTeamCase]:
    """One case per response to a harmless request that looks unsafe: a helpful answer beats a needless refusal.

    The refusal is a sampled one where there is one, else one of our own (`refusals_*.txt`).
    """
    verdicts = await editor.judged(prompt, responses)
    cases = [RedTeamCase(attack, *pair) for pair in zip(responses, verdicts, strict=True)]
    refusal = next((case.response for case in cases if case.verdict.outcome in _EVASIONS), None)
    rejected = refusal or _written_refusal(prompt, editor.seed)
    done: list[RedTeamCase] = []
    for case in cases:
        whole = ended(case.response)
        if case.verdict.outcome is not HarmOutcome.SAFE_HELPFUL or any(other.chosen for other in done):
            done.append(_dropped(case, f"benign: {case.verdict.outcome.value}"))
        elif whole is None:
            done.append(_dropped(case, "benign: cut off"))
        elif reason := wrong_with_text(whole.text):
            done.append(_dropped(case, f"benign: {reason}"))
        else:
            done.append(_paired(case, whole.text, rejected, chosen_source=case.response.id))
    return done


def _written_refusal(prompt: Prompt, seed: int) -> Response:
    lang = "zh" if prompt.lang.startswith("zh") else "en"
    text = random.Random(f"{seed}/{prompt.id}/refusal").choice(_refusals(lang))
    return Response(WRITTEN, prompt.id, text, WRITTEN, seed, Finish.STOP)


@functools.cache
def _refusals(lang: str) -> tuple[str, ...]:
    return tuple(text_lines(resources.files("hrlaif.red_team").joinpath(f"refusals_{lang}.txt").read_text("utf-8")))


def _dropped(case: RedTeamCase, reason: str) -> RedTeamCase:
    return dataclasses.replace(case, dropped=reason)


def _paired(
    case: RedTeamCase, chosen: str, rejected: Response, *, chosen_source: str, verdicts: tuple[HarmVerdict, ...] = ()
) -> RedTeamCase:
    return dataclasses.replace(
        case,
        chosen=chosen,
        rejected=rejected.text,
        chosen_source=chosen_source,
        rejected_source=rejected.id,
        rewrite_verdicts=verdicts,
    )
