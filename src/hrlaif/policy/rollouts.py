"""What one PPO step learns from: responses of the policy with rewards, advantages and returns per token."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from hrlaif.config import PolicySection
from hrlaif.errors import ModelError
from hrlaif.nn import processes
from hrlaif.nn.advantages import gae, token_rewards
from hrlaif.nn.masked import explained_variance, whiten
from hrlaif.policy.actors import Actors, Answered
from hrlaif.policy.scores import Normaliser


@dataclass(frozen=True, slots=True)
class Rollouts:
    """One response per row; columns count response tokens, padded on the right.

    Of several processes each has the texts (`answered`) of the rows it drew and None for the others; all else is of all
    rows, and the same everywhere.
    `scores_B` are the reward model's own, before clipping, normalising and penalties. `kl_B` is each response's
    `sum_t (logprob - ref_logprob)` in nats.
    """

    answered: tuple[Answered | None, ...]
    is_response_BT: torch.Tensor
    logprobs_BT: torch.Tensor
    values_BT: torch.Tensor
    advantages_BT: torch.Tensor
    returns_BT: torch.Tensor
    scores_B: torch.Tensor
    kl_B: torch.Tensor
    finished_B: torch.Tensor

    @property
    def tokens(self) -> int:
        """Response tokens in all."""
        return int(self.is_response_BT.sum())

    def explained_variance(self) -> float:
        """How much of the returns' variance the critic foresaw."""
        return explained_variance(self.values_BT, self.returns_BT, self.is_response_BT)


def collect(
    actors: Actors,
    prompts: Sequence[Sequence[int]],
    seeds: Sequence[int],
    section: PolicySection,
    *,
    normaliser: Normaliser,
    kl_weight: float,
    where: str,
    order: Sequence[int] = (),
) -> Rollouts:
    """Sample, score and value one response per prompt.

    Several processes draw one row each in turn, along `order` (of all rows, as given if empty).

    Raises:
        ModelError: The policy's numbers are not finite, or it answers nothing at all any more.
    """
    mine = sorted(processes.share(order or range(len(prompts))))
    answered, drawn = _draw(actors, [prompts[row] for row in mine], [seeds[row] for row in mine], section)
    device = actors.policy.place.device
    by_row = dict(pair for part in processes.gathered(list(zip(mine, drawn, strict=True))) for pair in part)
    rows = [by_row[row] for row in range(len(prompts))]
    finished_B = torch.tensor([row.finished for row in rows], device=device)
    if all(row.finished and len(row.values_T) == 1 for row in rows):
        raise ModelError(
            f"{where}: every response was empty, so there is nothing to learn from. The policy has collapsed (lower "
            "learning_rate, raise kl_weight) or the base model's chat template does not fit it."
        )
    scores_B = torch.tensor([row.score for row in rows], device=device)
    values_BT, is_response_BT = _padded([row.values_T for row in rows], device)
    logprobs_BT, _ = _padded([row.logprobs_T for row in rows], device)
    ref_logprobs_BT, _ = _padded([row.ref_logprobs_T for row in rows], device)
    _check_finite(where, {"log-probabilities": logprobs_BT, "values": values_BT, "scores": scores_B})
    paid_B = normaliser(scores_B) - section.no_eos_penalty * (~finished_B).float()
    rewards_BT = token_rewards(paid_B, logprobs_BT, ref_logprobs_BT, is_response_BT, kl_weight=kl_weight)
    advantages_BT, returns_BT = gae(
        rewards_BT, values_BT, is_response_BT, discount=section.discount, gae_lambda=section.gae_lambda
    )
    return Rollouts(
        answered=tuple(dict(zip(mine, answered, strict=True)).get(row) for row in range(len(prompts))),
        is_response_BT=is_response_BT,
        logprobs_BT=logprobs_BT,
        values_BT=values_BT,
        advantages_BT=whiten(advantages_BT, is_response_BT),
        returns_BT=returns_BT,
        scores_B=scores_B,
        kl_B=((logprobs_BT - ref_logprobs_BT) * is_response_BT).sum(dim=1),
        finished_B=finished_B,
    )


@dataclass(frozen=True, slots=True)
class _Drawn:
    """What all processes have to know of a row, on the CPU."""

    finished: bool
    score: float
    values_T: torch.Tensor
    logprobs_T: torch.Tensor
    ref_logprobs_T: torch.Tensor


def _draw(
    actors: Actors, prompts: Sequence[Sequence[int]], seeds: Sequence[int], section: PolicySection
) -> tuple[list[Answered], list[_Drawn]]:
    """The rows that are for this process: sampled by the policy, read by the other roles."""
    sampled = actors.sample(prompts, seeds, max_tokens=section.max_tokens)
    answered = actors.answered(prompts, sampled)
    reference = actors.reference_logprobs(answered)
    scores = actors.scores(answered).tolist()
    if actors.policy.place.dtype == torch.float32:
        logprobs = [torch.tensor(drawn.logprobs) for drawn in sampled]
    else:
        # In half precision decoding one token at a time rounds differently from a pass over the whole response.
        logprobs = actors.policy_logprobs(answered)
    rows = [
        _Drawn(drawn.finished, score, torch.tensor(drawn.values), logprobs_T.cpu(), ref_logprobs_T.cpu())
        for drawn, score, logprobs_T, ref_logprobs_T in zip(sampled, scores, logprobs, reference, strict=True)
    ]
    return answered, rows


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
