"""verl's hook (`reward.custom_reward_function.path`): the rule verifier first, the served reward model for the rest.

Needs hrlaif in verl's environment (`pip install hrlaif`; no torch comes with it) and, for what no rule can check, a
running `hrlaif serve-reward RUN`, whose address HRLAIF_REWARD_URL holds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from hrlaif.handoff.client import ask
from hrlaif.types import Finish, Message, Outcome, Prompt, Response, Task
from hrlaif.verifiers import verify


def compute_score(
    data_source: str, solution_str: str, ground_truth: str, extra_info: Mapping[str, Any], **_: object
) -> dict[str, float]:
    """`score` in -1..1: a checked answer is 1 or -1, anything else `tanh(r / 2)` of the reward model's score r.

    `tanh(r / 2)` is twice the probability, less one, that the response beats one with score 0 in the Bradley-Terry
    model, so both kinds of reward have one scale. `checked` is 1 where the verifier decided. An answer that the rule
    cannot read goes to the reward model.

    Raises:
        RewardUnavailableError: The reward model is needed and did not answer.
    """
    task = Task(extra_info["task"])
    if task.is_checkable and ground_truth:
        outcome = _verified(solution_str, ground_truth, task, extra_info)
        if outcome is not Outcome.UNREADABLE:
            return {"score": 1.0 if outcome is Outcome.CORRECT else -1.0, "checked": 1.0}
    question = extra_info["question"]
    (score,) = ask([question + solution_str], [question], [extra_info["id"]])["scores"]
    return {"score": math.tanh(score / 2), "checked": 0.0}


def _verified(solution: str, ground_truth: str, task: Task, extra_info: Mapping[str, Any]) -> Outcome:
    choices = extra_info.get("choices")
    prompt = Prompt(
        extra_info["id"],
        (Message("user", extra_info["question"]),),
        "",
        task,
        ground_truth,
        tuple(choices) if choices is not None else (),
    )
    return verify(prompt, Response("", prompt.id, solution, "", 0, Finish.STOP)).outcome
