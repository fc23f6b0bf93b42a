"""Groups of responses whose correctness is known, and the labels that a scripted judge gives them."""

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from hrlaif.artifacts import read_manifest, read_records
from hrlaif.config import Arm, LabelsSection
from hrlaif.labels import Group, label
from hrlaif.models.base import ChatReply, ChatRequest
from hrlaif.models.scripted import ScriptedModel
from hrlaif.types import (
    Cost,
    Finish,
    Label,
    Message,
    Outcome,
    Prompt,
    Response,
    Task,
    Verification,
)

SECTION = LabelsSection(pairs_per_prompt=3, tie_margin=0.05, verifier_probability=0.9)
ARMS: tuple[Arm, ...] = ("rlaif", "hrlaif")
KINDS = {"c": Outcome.CORRECT, "w": Outcome.WRONG, "u": Outcome.UNREADABLE}


def group(name: str, outcomes: str, *, task: Task = Task.MATH, reference: str | None = "4") -> Group:
    """A prompt with responses that are c(orrect), w(rong), u(nreadable) or o(pen: never verified)."""
    prompt = Prompt(name, (Message("user", f"Question {name}"),), "math", task, reference=reference)
    responses = tuple(
        Response(f"{name}/{k}", name, f"#{k} {kind} of {name}", "policy", k, Finish.STOP)
        for k, kind in enumerate(outcomes)
    )
    known = {
        one.id: Verification(one.id, KINDS[kind], "4", "rule:math", reference or "4")
        for one, kind in zip(responses, outcomes, strict=True)
        if kind in KINDS
    }
    return Group(prompt, responses, known)


def prefers_low(request: ChatRequest) -> ChatReply:
    """A judge that gives 0.8 to the response with the lower number, in either order."""
    text = request.messages[0].content
    shown = [line for line in text.splitlines() if line.startswith("#")]
    share = 0.8 if shown[0][1] < shown[1][1] else 0.2
    logprobs = ({"A": math.log(share), "B": math.log(1 - share)},)
    return ChatReply("A" if share > 0.5 else "B", Finish.STOP, "judge", logprobs, Cost(1, 50, 1))


def labelled(
    path: Path,
    groups: Iterable[Group],
    arm: Arm,
    judge: ScriptedModel | None = None,
    *,
    section: LabelsSection = SECTION,
    window: int = 4,
    seed: int = 0,
    total: int | None = None,
) -> list[Label]:
    judge = judge or ScriptedModel(prefers_low, name="judge")
    n = label(
        groups,
        arm=arm,
        judge=judge,
        section=section,
        seed=seed,
        path=path,
        fingerprint="f",
        total=total,
        window=window,
    )
    found = list(read_records(path, Label))
    assert len(found) == n
    return found


def manifest(path: Path) -> dict[str, Any]:
    found = read_manifest(path)
    assert found is not None
    return found
