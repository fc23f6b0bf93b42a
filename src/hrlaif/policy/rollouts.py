"""What one PPO step learns from: responses of the policy with rewards, advantages and returns per token."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import torch

from hrlaif.config import PolicySection
from hrlaif.errors import ModelError
from hrlaif.nn import processes
from hrlaif.nn.advantages import gae, group_normalised, leave_one_out, token_rewards
from hrlaif.nn.generate import Sampled
from hrlaif.nn.masked import explained_variance, whiten
from hrlaif.policy.actors import Actors, Answered, Question
from hrlaif.policy.mix import Ending, Pay, endings, pay
from hrlaif.policy.scores import Normaliser
from hrlaif.policy.served import check_gap, gap

Thing = TypeVar("Thing")


@dataclass(frozen=True, slots=True)
class Rollouts:
    """One response per row; columns count response tokens, padded on the right.

    Of several processes each has the texts (`answered`) of the rows it drew and None for the others; all else is of all
    rows, and the same everywhere.
    `scores_B` are the reward model's own, before clipping, normalising and penalties; `pay` is what they were paid.
    `kl_B` is each response's `sum_t (logprob - ref_logprob)` in nats. Without a critic there are no values and returns.
    `server_gap` says how far a server that drew them is from the policy, and is empty where there is none.
    """

    answered: tuple[Answered | None, ...]
    is_response_BT: torch.Tensor
    logprobs_BT: torch.Tensor
    advantages_BT: torch.Tensor
    values_BT: torch.Tensor | None
    returns_BT: torch.Tensor | None
    scores_B: torch.Tensor
    kl_B: torch.Tensor
    finished_B: torch.Tensor
    pay: Pay
    server_gap: dict[str, float]

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
            "eos_share": float(self.finished_B.float().mean()),
            **self.pay.terms,
        }
        if self.values_BT is not None and self.returns_BT is not None:
            found["explained_variance"] = explained_variance(self.values_BT, self.returns_BT, self.is_response_BT)
        return found


@dataclass(frozen=True, slots=True)
class Drawn:
    """Responses of the policy with what they are paid and how far from the start they are.

    `mine` are the rows that this process drew, in the order of `answered` and `sampled`; all else is of all rows.
    """

    mine: tuple[int, ...]
    answered: tuple[Answered, ...]
    sampled: tuple[Sampled, ...]
    is_response_BT: torch.Tensor
    logprobs_BT: torch.Tensor
    ref_logprobs_BT: torch.Tensor
    scores_B: torch.Tensor
    kl_B: torch.Tensor
    finished_B: torch.Tensor
    pay: Pay
    server_gap: dict[str, float]


@dataclass(frozen=True, slots=True)
class _Row:
    """What all processes have to know of a row, on the CPU."""

    ending: Ending
    score: float
    logprobs_T: torch.Tensor
    ref_logprobs_T: torch.Tensor


def draw(
    actors: Actors,
    questions: Sequence[Question],
    seeds: Sequence[int],
    section: PolicySection,
    *,
    normalise: Callable[[torch.Tensor], torch.Tensor],
    where: str,
    order: Sequence[int] = (),
) -> Drawn:
    """Sample and pay one response per question.

    Several processes draw one row each in turn, along `order` (of all rows, as given if empty).

    Raises:
        ModelError: The policy's numbers are not finite, or a server does not answer or has other weights.
    """
    mine = sorted(processes.share(order or range(len(questions))))
    sampled: list[Sampled] = []
    answered: list[Answered] = []
    own_rows: list[_Row] = []
    read: list[torch.Tensor] = []
    # Of a few held-out prompts there may be none for the last of many processes.
    if mine:
        own = [questions[row] for row in mine]
        sampled = actors.sample(own, [seeds[row] for row in mine], max_tokens=section.max_tokens)
        answered = actors.answered(own, sampled)
        read = actors.read(answered) if actors.is_read_again else []
    server_gap = check_gap(gap(sampled, read), section, where=where) if actors.server is not None else {}
    if mine:
        sampled = [_as_read(*pair) for pair in zip(sampled, read, strict=True)] if read else sampled
        own_rows = _rows(actors, answered, sampled, section)
    rows = _rejoined(mine, own_rows)
    device = actors.policy.place.device
    scores_B = torch.tensor([row.score for row in rows], device=device)
    logprobs_BT, is_response_BT = _padded([row.logprobs_T for row in rows], device)
    ref_logprobs_BT, _ = _padded([row.ref_logprobs_T for row in rows], device)
    _check_finite(where, {"log-probabilities": logprobs_BT, "scores": scores_B})
    return Drawn(
        mine=tuple(mine),
        answered=tuple(answered),
        sampled=tuple(sampled),
        is_response_BT=is_response_BT,
        logprobs_BT=logprobs_BT,
        ref_logprobs_BT=ref_logprobs_BT,
        scores_B=scores_B,
        kl_B=((logprobs_BT - ref_logprobs_BT) * is_response_BT).sum(dim=1),
        finished_B=torch.tensor([row.ending.finished for row in rows], device=device),
        pay=pay([row.ending for row in rows], normalise(scores_B), section),
        server_gap=server_gap,
    )


def _as_read(drawn: Sampled, read_TC: torch.Tensor) -> Sampled:
    """A response with the numbers of a pass over it in place of those it was drawn with."""
    columns = read_TC.unbind(dim=1)
    values = tuple(columns[2].tolist()) if len(columns) > 2 else ()
    return replace(drawn, logprobs=tuple(columns[0].tolist()), values=values)


def _rows(
    actors: Actors, answered: Sequence[Answered], sampled: Sequence[Sampled], section: PolicySection
) -> list[_Row]:
    """What the other roles and the verifier make of the responses."""
    reference = actors.reference_logprobs(answered)
    scores = actors.scores(answered).tolist()
    ended = endings(answered, section, chat=actors.policy.chat)
    return [
        _Row(ending, score, torch.tensor(drawn.logprobs), ref_logprobs_T.cpu())
        for ending, score, drawn, ref_logprobs_T in zip(ended, scores, sampled, reference, strict=True)
    ]


def collect(
    actors: Actors,
    questions: Sequence[Question],
    seeds: Sequence[int],
    section: PolicySection,
    *,
    normaliser: Normaliser,
    kl_weight: float,
    where: str,
    order: Sequence[int] = (),
) -> Rollouts:
    """Sample, pay and value one response per question; with `samples_per_prompt`, a prompt's rows stand together.

    Several processes draw one row each in turn, along `order` (of all rows, as given if empty).

    Raises:
        ModelError: The numbers are not finite, or the policy answers nothing at all any more.
    """
    drawn = draw(actors, questions, seeds, section, normalise=normaliser, where=where, order=order)
    if bool((drawn.finished_B & (drawn.is_response_BT.sum(dim=1) == 1)).all()):
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
    texts = dict(zip(drawn.mine, drawn.answered, strict=True))
    return Rollouts(
        answered=tuple(texts.get(row) for row in range(len(questions))),
        is_response_BT=drawn.is_response_BT,
        logprobs_BT=drawn.logprobs_BT,
        advantages_BT=advantages_BT,
        values_BT=values_BT,
        returns_BT=returns_BT,
        scores_B=drawn.scores_B,
        kl_B=drawn.kl_B,
        finished_B=drawn.finished_B,
        pay=drawn.pay,
        server_gap=drawn.server_gap,
    )


def _values(actors: Actors, drawn: Drawn) -> torch.Tensor:
    if actors.critic_is_apart:
        rows = [values_T.cpu() for values_T in actors.critic_values(drawn.answered)]
    else:
        rows = [torch.tensor(one.values) for one in drawn.sampled]
    return _padded(_rejoined(drawn.mine, rows), actors.policy.place.device)[0]


def _rejoined(mine: Sequence[int], found: Sequence[Thing]) -> list[Thing]:
    """What all processes made of the rows that they drew, in the order of the rows."""
    by_row = dict(pair for part in processes.gathered(list(zip(mine, found, strict=True))) for pair in part)
    return [by_row[row] for row in range(len(by_row))]


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
