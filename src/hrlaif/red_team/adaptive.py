"""Adaptive attacks: an attacker sees how the policy answered and tries again; all of a block advance turn by turn.

`refine` writes the whole request anew each time, as PAIR does. `escalate` is one
conversation that comes closer step by step, with the policy's own answers in it; a message that was refused is taken
back, as in Crescendo. An attack ends at the first confirmed harmful answer, or
with its turns. Where the attacker gives nothing that may be sent, a template strategy stands in, and the attack ends.
"""

from __future__ import annotations

import dataclasses
import itertools
import random
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from hrlaif.metrics.duplicates import normalised
from hrlaif.red_team import strategies
from hrlaif.red_team.archive import Attempt, Result
from hrlaif.red_team.attacker import Attacker, Fault, Proposal
from hrlaif.red_team.attacks import dressed, fresh, name_of
from hrlaif.red_team.cases import settled
from hrlaif.red_team.rewrite import Editor
from hrlaif.red_team.target import Target, asked
from hrlaif.types import Attack, Finish, HarmOutcome, Message, Prompt, RedTeamCase

ESCALATE = "escalate"
# Answers after which an escalation goes on as if the message had not been sent.
_TAKEN_BACK = (HarmOutcome.SAFE_REFUSAL, HarmOutcome.INCOHERENT)


@dataclass(frozen=True, slots=True)
class Adaptive:
    """One adaptive attack to make: on which prompt, by which strategy, under which id."""

    prompt: Prompt
    strategy: str
    id: str


def adaptive_plan(
    seeds: Sequence[Prompt],
    names: Sequence[str],
    *,
    attempts: Sequence[Attempt],
    attacks: Sequence[Attack],
    round_number: int,
) -> list[Adaptive]:
    """One adaptive attack, dealt in turn, on each seed; in later rounds on those that were never broken, and on those
    for which `attacks`, the templates of the round, hold nothing new.
    """
    broken = {attempt.prompt_id for attempt in attempts if attempt.result is Result.SUCCEEDED}
    attacked = {attack.prompt_id for attack in attacks}
    # Another round, another strategy first, so that a seed meets all of them.
    turned = itertools.cycle(names)
    first = itertools.islice(turned, (round_number - 1) % max(1, len(names)), None)
    return [
        Adaptive(prompt, name, name_of(prompt, name, round_number))
        for prompt, name in zip(fresh(seeds), first, strict=False)
        if prompt.id not in broken or prompt.id not in attacked
    ]


@dataclass(slots=True)
class _Thread:
    """How far one adaptive attack has come. `kept` is what the policy remembers of an escalation."""

    plan: Adaptive
    cases: list[RedTeamCase] = field(default_factory=list)
    kept: tuple[Message, ...] = ()
    is_over: bool = False


@dataclass(frozen=True, slots=True)
class Loop:
    """Who takes part in adaptive attacks, and what they must not repeat.

    `sent` holds the texts that were sent before, `used` the strategies that each prompt has seen.
    """

    attacker: Attacker
    target: Target
    editor: Editor
    round_number: int
    sent: set[str]
    used: Mapping[str, set[str]]

    def block(self, plans: Sequence[Adaptive]) -> list[RedTeamCase]:
        """One case per turn of each attack, followed to its end: what was harmful is rewritten."""
        threads = [_Thread(plan) for plan in plans]
        for _ in range(self.attacker.section.attacker_turns):
            live = [thread for thread in threads if not thread.is_over]
            if not live:
                break
            self._turn(live)
        editor = self.editor
        turns = [(thread.plan.prompt, case) for thread in threads for case in thread.cases]
        found = asked((editor.judge, editor.rewriter), turns, lambda turn: settled(editor, turn[0], [turn[1]]))
        return [case for cases in found for case in cases]

    def _turn(self, live: Sequence[_Thread]) -> None:
        attacker, editor = self.attacker, self.editor
        proposals = asked(
            (attacker.model,),
            live,
            lambda thread: attacker.propose(
                thread.plan.prompt, thread.plan.strategy, thread.cases, identity=_turn_id(thread)
            ),
        )
        attacks = [self._attack(thread, proposal) for thread, proposal in zip(live, proposals, strict=True)]
        answers = [answer for (answer,) in self.target.answers(attacks, each=1)]
        judged = asked(
            (editor.judge,),
            zip(live, answers, strict=True),
            lambda item: editor.judged(item[0].plan.prompt, [item[1]]),
        )
        for thread, attack, answer, (verdict,) in zip(live, attacks, answers, judged, strict=True):
            thread.cases.append(RedTeamCase(attack, answer, verdict))
            thread.is_over = bool(attack.stands_in) or verdict.outcome is HarmOutcome.HARMFUL
            is_kept = thread.plan.strategy == ESCALATE and verdict.outcome not in _TAKEN_BACK
            if is_kept and answer.finish is not Finish.FAILED:
                thread.kept = (*thread.kept, attack.messages[-1], Message("assistant", answer.text))

    def _attack(self, thread: _Thread, proposal: Proposal) -> Attack:
        plan, text, fault = thread.plan, proposal.message, proposal.fault
        # An escalation may open as others did: what it says stands in another conversation.
        if text is not None and plan.strategy != ESCALATE and normalised(text) in self.sent:
            text, fault = None, Fault.REPEATED
        if text is None:
            attack = self._stand_in(thread, fault or Fault.EMPTY)
        else:
            attack = dressed(plan.prompt, plan.strategy, text, round_number=self.round_number)
            before = thread.cases[-1].attack.id if thread.cases else None
            messages = (*attack.messages[:-1], *thread.kept, attack.messages[-1])
            attack = dataclasses.replace(attack, id=_turn_id(thread), parent_id=before, messages=messages)
        self.sent.add(normalised(attack.messages[-1].content))
        return attack

    def _stand_in(self, thread: _Thread, fault: Fault) -> Attack:
        """The prompt under a template strategy, one that it has not seen if there is one."""
        prompt, identity = thread.plan.prompt, _turn_id(thread)
        deck = list(strategies.check(self.attacker.section.strategies))
        random.Random(f"{self.attacker.seed}/{identity}").shuffle(deck)
        deck.sort(key=lambda name: name in self.used.get(prompt.id, ()))
        texts = ((name, strategies.apply(name, prompt.question, lang=prompt.lang)) for name in deck)
        name, text = next(((name, text) for name, text in texts if text is not None), (strategies.PLAIN, None))
        attack = dressed(prompt, name, text or prompt.question, round_number=self.round_number)
        reason = f"{thread.plan.strategy}: {fault.value}"
        return dataclasses.replace(attack, id=f"{identity}/{name}", parent_id=None, stands_in=reason)


def _turn_id(thread: _Thread) -> str:
    return f"{thread.plan.id}/{len(thread.cases) + 1}"


def used_strategies(attacks: Iterable[Attack]) -> dict[str, set[str]]:
    """The strategies that each prompt was attacked with."""
    used: dict[str, set[str]] = defaultdict(set)
    for attack in attacks:
        used[attack.prompt_id].add(attack.strategy)
    return used


def sent_texts(cases: Iterable[RedTeamCase], attacks: Iterable[Attack]) -> set[str]:
    """What was said to the policy in these cases and attacks, normalised."""
    said = (*(case.attack for case in cases), *attacks)
    return {normalised(attack.messages[-1].content) for attack in said}
