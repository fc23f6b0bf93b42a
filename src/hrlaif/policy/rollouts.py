"""What one PPO step learns from: responses of the policy with rewards, advantages and returns per token."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from hrlaif.config import PolicySection
from hrlaif.errors import ModelError
from hrlaif.nn.advantages import gae, group_normalised, leave_one_out, token_rewards
from hrlaif.nn.generate import Sampled
from hrlaif.nn.masked import explained_variance, whiten
from hrlaif.policy.actors import Actors, Answered, Question
from hrlaif.policy.mix import Pay, pay
from hrlaif.policy.scores import Normaliser


@dataclass(frozen=True, slots=True)
class Rollouts:
    """One response per row; columns count response tokens, padded on the right.

    `scores_B` are the reward model's own, before clipping, normalising and penalties; `pay` is what they were paid.
    `kl_B` is each response's `sum_t (logprob - ref_logprob)` in nats. Without a critic there are no values and returns.
    """

    answered: tuple[Answered, ...]
    is_response_BT: torch.Tensor
    logprobs_BT: torch.Tensor
    advantages_BT: torch.Tensor
    values_BT: torch.Tensor | None
    returns_BT: torch.Tensor | None
    scores_B: torch.Tensor
    kl_B: torch.Tensor
    pay: Pay

    @property
    def tokens(self) -> int:
        """Response tokens in all."""
        return int(self.is_response_BT.sum())

    def described(self) -> dict[str, float]:
        """What the rollouts were like. `reward` is the reward model's own score, `kl` in nats per response."""
        found = {
            "reward": float(self.scores_B.mean()),
            "reward_std": float(self.scores_B.std(unbiased=False)),
            "kl": float(self.kl_B.mean()),
            "response_tokens": self.tokens / len(self.answered),
            "eos_share": sum(item.finished for item in self.answered) / len(self.answered),
            **self.pay.terms,
        }
        if self.values_BT is not None and self.returns_BT is not None:
            found["explained_variance"] = explained_variance(self.values_BT, self.returns_BT, self.is_response_BT)
        return found


@dataclass(frozen=True, slots=True)
class Drawn:
    """Responses of the policy with what they are paid and how far from the start they are."""

    answered: tuple[Answered, ...]
    sampled: tuple[Sampled, ...]
    is_response_BT: torch.Tensor
    logprobs_BT: torch.Tensor
    ref_logprobs_BT: torch.Tensor
    scores_B: torch.Tensor
    kl_B: torch.Tensor
    pay: Pay


def draw(
    actors: Actors,
    questions: Sequence[Question],
    seeds: Sequence[int],
    section: PolicySection,
    *,
    normalise: Callable[[torch.Tensor], torch.Tensor],
    where: str,
) -> Drawn:
    """Sample and pay one response per question.

    Raises:
        ModelError: The policy's numbers are not finite.
    """
    sampled = actors.sample(questions, seeds, max_tokens=section.max_tokens)
    device = actors.policy.place.device
    answered = actors.answered(questions, sampled)
    reference = actors.reference_logprobs(answered)
    scores_B = actors.scores(answered).to(device)
    if actors.policy.place.dtype == torch.float32:
        logprobs = [torch.tensor(drawn.logprobs) for drawn in sampled]
    else:
        # In half precision decoding one token at a time rounds differently from a pass over the whole response.
        logprobs = actors.policy_logprobs(answered)
    logprobs_BT, is_response_BT = _padded(logprobs, device)
    ref_logprobs_BT, _ = _padded(reference, device)
    _check_finite(where, {"log-probabilities": logprobs_BT, "scores": scores_B})
    return Drawn(
        answered=tuple(answered),
        sampled=tuple(sampled),
        is_response_BT=is_response_BT,
        logprobs_BT=logprobs_BT,
        ref_logprobs_BT=ref_logprobs_BT,
        scores_B=scores_B,
        kl_B=((logprobs_BT - ref_logprobs_BT) * is_response_BT).sum(dim=1),
        pay=pay(answered, normalise(scores_B), section, chat=actors.policy.chat),
    )


def collect(
    actors: Actors,
    questions: Sequence[Question],
    seeds: Sequence[int],
    section: PolicySection,
    *,
    normaliser: Normaliser,
    kl_weight: float,
    where: str,
) -> Rollouts:
    """Sample, pay and value one response per question; with `samples_per_prompt`, a prompt's rows stand together.

    Raises:
        ModelError: The numbers are not finite, or the policy answers nothing at all any more.
    """
    drawn = draw(actors, questions, seeds, section, normalise=normaliser, where=where)
    if all(item.finished and len(item.conversation.response) == 1 for item in drawn.answered):
        raise ModelError(
            f"{where}: every response was empty, so there is nothing to learn from. The policy has collapsed (lower "
            "learning_rate, raise kl_weight) or the base model's chat template does not fit it. The last checkpoint is "
            "from before this step."
        )
    values_BT, returns_BT = None, None
    if section.advantages == "gae":
        values_BT = _values(actors, drawn)
        _check_finite(where, {"values": values_BT})
        rewards_BT = token_rewards(
            drawn.pay.total_B, drawn.logprobs_BT, drawn.ref_logprobs_BT, drawn.is_response_BT, kl_weight=kl_weight
        )
        advantages_BT, returns_BT = gae(
            rewards_BT, values_BT, drawn.is_response_BT, discount=section.discount, gae_lambda=section.gae_lambda
        )
        advantages_BT = whiten(advantages_BT, drawn.is_response_BT)
    else:
        compared = leave_one_out if section.advantages == "rloo" else group_normalised
        advantages_B = compared(drawn.pay.total_B - kl_weight * drawn.kl_B, group=section.samples_per_prompt)
        advantages_BT = advantages_B[:, None] * drawn.is_response_BT
    return Rollouts(
        answered=drawn.answered,
        is_response_BT=drawn.is_response_BT,
        logprobs_BT=drawn.logprobs_BT,
        advantages_BT=advantages_BT,
        values_BT=values_BT,
        returns_BT=returns_BT,
        scores_B=drawn.scores_B,
        kl_B=drawn.kl_B,
        pay=drawn.pay,
    )


def _values(actors: Actors, drawn: Drawn) -> torch.Tensor:
    if actors.critic_is_apart:
        rows = actors.critic_values(drawn.answered)
    else:
        rows = [torch.tensor(one.values) for one in drawn.sampled]
    return _padded(rows, actors.policy.place.device)[0]


def _padded(rows: Sequence[torch.Tensor], device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows of different lengths side by side (0 where a row has ended), and where they have entries."""
    width = max(len(row) for row in rows)
    numbers_BT = torch.zeros(len(rows), width, device=device)
    has_BT = torch.zeros(len(rows), width, dtype=torch.bool, device=device)
    for index, row in enumerate(rows):
        numbers_BT[index, : len(row)] = row.to(device)
        has_BT[index, : len(row)] = True
    return numbers_BT, has_BT


def _check_finite(where: str, numbers: dict[str, torch.Tensor]) -> None:
    for name, tensor in numbers.items():
        if not bool(torch.isfinite(tensor).all()):
            raise ModelError(
                f"{where}: the {name} of the rollouts are not finite, so training diverged. Lower learning_rate or "
                "raise kl_weight and run again. The last checkpoint is from before this step."
            )
