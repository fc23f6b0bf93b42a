"""What whole responses are paid: the reward model's score, the verifier's verdict, length, and a missing end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from hrlaif import verifiers
from hrlaif.config import PolicySection
from hrlaif.nn.chat import Chat
from hrlaif.policy.actors import Answered
from hrlaif.types import Finish, Outcome, Prompt, Response


@dataclass(frozen=True, slots=True)
class Pay:
    """What each response is paid, and the mean of each term, for the curve."""

    total_B: torch.Tensor
    terms: dict[str, float]


def is_verified(prompt: Prompt, section: PolicySection) -> bool:
    """True where the verifier has a say in what responses to the prompt are paid."""
    return section.mix.verifier > 0 and prompt.task.is_checkable and prompt.reference is not None


def check_references(prompts: Sequence[Prompt], section: PolicySection) -> None:
    """Let a reference that no answer can be compared with fail before anything is computed.

    Raises:
        DataError: A checkable prompt's reference cannot be used.
    """
    for prompt in prompts:
        if is_verified(prompt, section):
            verifiers.verify(prompt, _response(prompt, "", Finish.STOP))


@dataclass(frozen=True, slots=True)
class Ending:
    """What of a response itself is paid for: its length, whether it ended, and the verdict, None without one."""

    tokens: int
    finished: bool
    outcome: Outcome | None


def endings(answered: Sequence[Answered], section: PolicySection, *, chat: Chat) -> list[Ending]:
    """Measure responses and have them verified."""
    outcomes = _verdicts(answered, section, chat) if section.mix.verifier else [None] * len(answered)
    return [
        Ending(len(item.conversation.response), item.finished, outcome)
        for item, outcome in zip(answered, outcomes, strict=True)
    ]


def pay(ended: Sequence[Ending], normalised_B: torch.Tensor, section: PolicySection) -> Pay:
    """What each response is paid at its last token.

    `mix.reward_model * normalised score + mix.verifier * verdict - mix.length * max(0, tokens - mix.length_target)
    - no_eos_penalty` (the last for a response that was cut off). The end token counts as one.
    """
    mix, device = section.mix, normalised_B.device
    tokens_B = torch.tensor([item.tokens for item in ended], device=device)
    cut_off_B = torch.tensor([not item.finished for item in ended], device=device)
    terms = {"reward_model": mix.reward_model * normalised_B, "no_eos": -section.no_eos_penalty * cut_off_B.float()}
    counts: dict[str, float] = {}
    if mix.length:
        terms["length"] = -mix.length * (tokens_B - mix.length_target).clamp(min=0).float()
    if mix.verifier:
        outcomes = [item.outcome for item in ended]
        paid = {Outcome.CORRECT: mix.correct, Outcome.UNREADABLE: mix.unreadable, Outcome.WRONG: mix.wrong, None: 0.0}
        terms["verifier"] = mix.verifier * torch.tensor([paid[outcome] for outcome in outcomes], device=device)
        counts = _shares(outcomes)
    total_B = torch.stack(list(terms.values())).sum(dim=0)
    means = {f"paid_{name}": float(term_B.mean()) for name, term_B in terms.items()}
    return Pay(total_B, {"paid": float(total_B.mean()), **means, **counts})


def _verdicts(answered: Sequence[Answered], section: PolicySection, chat: Chat) -> list[Outcome | None]:
    """The verifier's outcome for each response, None where it has no say.

    Asked while torch is at rest: what needs symbolic mathematics runs in one worker process, and on a CPU a process
    beside torch's threads costs more than waiting for it.
    """
    found: list[Outcome | None] = []
    for item in answered:
        if not is_verified(item.prompt, section):
            found.append(None)
            continue
        finish = Finish.STOP if item.finished else Finish.LENGTH
        response = _response(item.prompt, chat.text(item.conversation.response), finish)
        found.append(verifiers.verify(item.prompt, response).outcome)
    return found


def _shares(outcomes: Sequence[Outcome | None]) -> dict[str, float]:
    """The share of each outcome among the responses that were verified; nothing where none was."""
    verified = [outcome for outcome in outcomes if outcome is not None]
    return {f"{one.value}_share": verified.count(one) / len(verified) for one in Outcome if verified}


def _response(prompt: Prompt, text: str, finish: Finish) -> Response:
    return Response("rollout", prompt.id, text, "policy", 0, finish)
