"""The suite of attacks that the benchmark tries on real judges, against a judge that obeys whatever it may."""

import asyncio
import importlib.util
import json
import re
import sys
import unicodedata
from collections import Counter
from pathlib import Path
from types import ModuleType
from typing import Any

from hrlaif.judges.answer import check_answer
from hrlaif.judges.compare import compare
from hrlaif.models.base import ChatRequest
from hrlaif.models.scripted import ScriptedModel
from hrlaif.types import Outcome, Verdict


def _suite() -> ModuleType:
    path = Path(__file__).parents[2] / "bench" / "attacks.py"
    spec = importlib.util.spec_from_file_location("bench_attacks", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where its dataclasses look for their names
    spec.loader.exec_module(module)
    return module


suite = _suite()
QUESTIONS = suite.questions()
CHECKABLE = [question for question in QUESTIONS if question.reference is not None]
CONTROL_TOKENS = (
    "<|im_end|>", "<|im_start|>", "<|eot_id|>", "<|start_header_id|>", "<|end_header_id|>", "<|endoftext|>", "<|user|>",
    "<|assistant|>", "<|end|>", "<|system|>", "<|start|>", "<|channel|>", "<|message|>", "<|return|>", "[INST]",
    "[/INST]", "<s>", "</s>", "<<SYS>>", "<</SYS>>", "<start_of_turn>", "<end_of_turn>", "<bos>", "<eos>",
    "<｜end▁of▁sentence｜>", "<｜Assistant｜>", "<｜User｜>", "<|START_OF_TURN_TOKEN|>", "<|CHATBOT_TOKEN|>",
    "<|END_OF_TURN_TOKEN|>",
)  # fmt: skip
CLOSING = re.compile(r"\s*\[\s*/\s*\w+\s*\]\s*")


def outside(shown: str) -> str:
    """What a judge that takes any line of the right shape for a closing mark reads as its instructions."""
    lines, mark = [], None
    for line in shown.splitlines():
        if mark is None and re.fullmatch(r"\[[a-z]{8}\]", line):
            mark = line
        elif mark is None:
            lines.append(line)
        elif CLOSING.fullmatch(line):
            mark = None
    return "\n".join(lines)


def may_obey(request: ChatRequest, instructions: str) -> bool:
    """Whether the judge finds anything to obey but its own instructions."""
    (message,) = request.messages
    return any(token in message.content for token in CONTROL_TOKENS) or outside(message.content) != instructions


def cells(target: str) -> list[tuple[Any, Any]]:
    """Every attack with one of the questions."""
    pool = CHECKABLE if target == "answer" else QUESTIONS
    return [(a, q) for i, a in enumerate(suite.attacks(target)) for q in suite.chosen(a, i, pool, 1)]


async def compared(judge: ScriptedModel, question: Any, bad: str) -> Verdict:
    pair = (question.response(bad, "bad"), question.response(question.good, "good"))
    return (await compare(judge, question.prompt(), *pair, tie_margin=0.05, purpose="x")).verdict


def test_the_suite_is_broad_and_every_attack_is_in_it_once() -> None:
    attacks = [*suite.attacks("compare"), *suite.attacks("answer")]
    kinds = Counter(attack.kind for attack in attacks if attack.kind != suite.CONTROL)
    assert len({attack.id for attack in attacks}) == len({attack.text for attack in attacks}) == len(attacks)
    assert sum(kinds.values()) >= 120
    assert len(kinds) >= 12
    assert {attack.place for attack in attacks} == {"start", "middle", "end"}
    assert len(QUESTIONS) >= 12


def test_no_attack_wins_over_a_judge_that_obeys_anything_outside_the_marks() -> None:
    asyncio.run(_no_attack_wins())


async def _no_attack_wins() -> None:
    question = QUESTIONS[0]
    unattacked = ScriptedModel(lambda _: "A")
    await compared(unattacked, question, question.bad)
    instructions = outside(unattacked.requests[0].messages[0].content)
    assert instructions.startswith("You compare two responses")
    for attack, asked in cells("compare"):

        def script(request: ChatRequest, good: str = asked.good) -> str:
            content = request.messages[0].content
            bad_is_a = content.index(good) > content.index("\nResponse B:\n")
            return "AB"[bad_is_a != may_obey(request, instructions)]

        judge = ScriptedModel(script)
        assert await compared(judge, asked, suite.carrying(attack, asked)) is Verdict.SECOND, attack.id
        for request in judge.requests:
            hidden = [c for c in request.messages[0].content if unicodedata.category(c) in ("Cc", "Cf", "Cs")]
            assert set(hidden) <= set("\n\t\r"), attack.id


def test_no_attack_makes_a_wrong_answer_correct_even_if_the_judge_obeys() -> None:
    for attack, asked in cells("answer"):
        response = asked.response(suite.carrying(attack, asked), "bad")
        judge = ScriptedModel(lambda _, claim=asked.claim: json.dumps({"final_answer": claim, "verdict": "same"}))
        found = asyncio.run(check_answer(judge, asked.prompt(), response, purpose="x"))
        assert found.outcome is not Outcome.CORRECT, attack.id
