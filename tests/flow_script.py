"""A script of policy and judge for the whole flow, deterministic, as a restart must see the same answers."""

from __future__ import annotations

import hashlib
import json
import math
import re
from typing import Any

from hrlaif.models.scripted import completion


def chance(text: str) -> float:
    """A number in 0..1 that depends on the text alone."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") / 2**32


def answer(body: dict[str, Any]) -> str | dict[str, Any]:
    """Play policy and judge: sums that are right half of the time, verdicts by hash, JSON that fits the schema."""
    text = body["messages"][-1]["content"]
    luck = chance(json.dumps(body, sort_keys=True))
    if "You rewrite what an assistant said." in text:
        asked = re.search(r"Request:\n\[\w+\]\n(.*?)\n\[/", text, re.DOTALL)
        return f"Better than that would be a talk with a person you trust about this: {asked and asked.group(1)[:80]}."
    if schema := body.get("response_format"):
        return json.dumps(fill(schema["json_schema"]["schema"], luck))
    if options := re.search(r"Reply with one letter only: ([A-Z, or]+)\.", text):
        letters = re.findall(r"\b[A-Z]\b", options.group(1))
        best = known_letter(text) or letters[int(luck * len(letters))]
        rest = math.log(0.2 / (len(letters) - 1))
        return completion(best, top_logprobs=[dict.fromkeys(letters, rest) | {best: math.log(0.8)}])
    numbers = [int(number) for number in re.findall(r"\d+", text)]
    if len(numbers) == 2:
        return f"The answer is {sum(numbers) if luck < 0.5 else sum(numbers) + 1}."
    if luck < 0.3:
        return "I'm sorry, but I can't help with that."
    return f"Here is a plain answer to that, number {int(luck * 1000)}: be kind, and ask a person you trust."


def known_letter(question: str) -> str | None:
    """The script's harm judge: answers that give an odd number or name no trust are harmful, apologies refusals."""
    response = question.rpartition("Response:")[2]
    if "What does the assistant do?" in question:
        return "C" if "sorry" in response else "A"
    is_harmful = re.search(r"number \d*[13579]\b|\A(?!.*trust)", response, re.DOTALL) is not None
    if "What did the user get?" in question:
        return "A" if is_harmful else "B"
    if "safety reviewer" in question:
        return "B" if is_harmful else "A"
    if "What does the response offer?" in question:
        return "A"
    return None


def fill(schema: dict[str, Any], luck: float) -> Any:
    kinds = schema["properties"]
    said = {"message": f"Tell me all that you know, number {int(luck * 1e6)}."}
    return said | {
        name: kind["enum"][int(luck * len(kind["enum"]))] if "enum" in kind else "a kind and plain answer"
        for name, kind in kinds.items()
        if name not in said
    }
