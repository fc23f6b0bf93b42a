"""TRL 1.12's formulas beside ours on the same random tensors: run by numerics.py in TRL's environment.

What TRL computes inside its training loops is cut out of its own source and run as it stands. Prints one JSON list.
"""

from __future__ import annotations

import json
import os
import textwrap
from pathlib import Path
from types import SimpleNamespace

os.environ["TRL_EXPERIMENTAL_SILENCE"] = "1"

import torch
import trl
from trl.experimental.ppo.ppo_trainer import INVALID_LOGPROB, masked_mean, masked_whiten
from trl.trainer.utils import nanstd, selective_log_softmax

from hrlaif.nn.advantages import gae, group_normalised, leave_one_out, token_rewards
from hrlaif.nn.logprobs import token_logprobs
from hrlaif.nn.losses import k3, policy_loss, preference_loss, value_loss
from hrlaif.nn.masked import whiten

PPO = ("experimental/ppo/ppo_trainer.py", "train")
RLOO = ("trainer/rloo_trainer.py", "_generate_and_score_completions")
GRPO = ("trainer/grpo_trainer.py", "_generate_and_score_completions")
ROWS, TOKENS, VOCABULARY, GROUP = 16, 12, 50, 4
KL_WEIGHT, DISCOUNT, LAMBDA, CLIP, VALUE_CLIP, CENTRING = 0.05, 0.97, 0.9, 0.2, 0.2, 0.01
ON_PURPOSE = {
    "rewards, responses with padding": "TRL pays the score one token after the end token, on padding; ours on it",
    "returns, responses with padding": "that, and TRL goes on from the value of the padding token; ours ends at 0",
    "advantages, responses with padding": "follows from the returns",
    "whitening, all of it": "TRL divides by n - 1, ours by n: a factor of sqrt((n - 1) / n) for all tokens alike",
    "value loss, responses with padding": "TRL also trains the value of the padding token after the end",
    "approximate KL": "TRL: half the mean squared log ratio, padding among the tokens; ours: k3 over response tokens",
}


def their(file: str, function: str, first: str, last: str, **names: object) -> dict[str, object]:
    """Run the lines of TRL's function from the one that begins with `first` to the one that begins with `last`.

    Read from the file, since importing all of TRL's trainers needs packages that this comparison does not.
    """
    lines = (Path(trl.__file__).parent / file).read_text("utf-8").splitlines()
    starts = [line.strip() for line in lines]
    top = next(n for n, line in enumerate(starts) if line.startswith(f"def {function}("))
    begin = next(n for n, line in enumerate(starts[top:], top) if line.startswith(first))
    end = next(n for n, line in enumerate(starts[begin:], begin) if line.startswith(last))
    code = textwrap.dedent("\n".join(lines[begin : end + 1]))
    scope = {
        "torch": torch, "nn": torch.nn, "masked_mean": masked_mean, "masked_whiten": masked_whiten, "nanstd": nanstd,
        "INVALID_LOGPROB": INVALID_LOGPROB, "empty_cache": lambda: None, **names,
    }  # fmt: skip
    exec(code, scope)
    return scope


class Tensors:
    """One draw of everything, with responses of full length or of all lengths (padding after them)."""

    def __init__(self, seed: int, *, padded: bool) -> None:
        torch.manual_seed(seed)
        self.length_B = torch.randint(1, TOKENS - 1, (ROWS,)) if padded else torch.full((ROWS,), TOKENS)
        self.counts_BT = torch.arange(TOKENS)[None] < self.length_B[:, None]
        self.logits_BTV = torch.randn(ROWS, TOKENS, VOCABULARY) * 2
        self.tokens_BT = torch.randint(0, VOCABULARY, (ROWS, TOKENS))
        self.logprobs_BT = selective_log_softmax(self.logits_BTV, self.tokens_BT)
        self.ref_BT = self.logprobs_BT + 0.3 * torch.randn(ROWS, TOKENS)
        self.new_BT = self.logprobs_BT + 0.3 * torch.randn(ROWS, TOKENS)
        self.values_BT, self.predicted_BT = torch.randn(2, ROWS, TOKENS)
        self.scores_B = torch.randn(ROWS)


def ppo(x: Tensors) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """(TRL's, ours) of what stands in PPO's loop."""
    args = SimpleNamespace(
        kl_estimator="k1", kl_coef=KL_WEIGHT, whiten_rewards=False, gamma=DISCOUNT, lam=LAMBDA, cliprange=CLIP,
        cliprange_value=VALUE_CLIP, vf_coef=0.1,
    )  # fmt: skip
    theirs = their(
        *PPO, "response_idxs = torch.arange", "advantages = torch.masked_fill", args=args,
        responses=x.tokens_BT, sequence_lengths=x.length_B - 1, logprobs=x.logprobs_BT, ref_logprobs=x.ref_BT,
        values=x.values_BT, scores=x.scores_B,
    )  # fmt: skip
    rewards_BT = token_rewards(x.scores_B, x.logprobs_BT, x.ref_BT, x.counts_BT, kl_weight=KL_WEIGHT)
    advantages_BT, returns_BT = gae(rewards_BT, x.values_BT, x.counts_BT, discount=DISCOUNT, gae_lambda=LAMBDA)
    n = int(x.counts_BT.sum())
    whitened_BT = whiten(advantages_BT, x.counts_BT)
    every = torch.arange(ROWS)
    counts_p1_BT = ~theirs["padding_mask_p1"]
    losses = their(
        *PPO, "vpredclipped = torch.clamp", "loss = pg_loss", args=args, vpred=x.predicted_BT,
        mb_values=x.values_BT, mb_return=returns_BT, mb_advantage=whitened_BT, mb_logprobs=x.logprobs_BT,
        new_logprobs=x.new_BT, padding_mask=~x.counts_BT, padding_mask_p1=~counts_p1_BT, micro_batch_inds=every,
    )  # fmt: skip
    value_BT = value_loss(x.predicted_BT, x.values_BT, returns_BT, clip=VALUE_CLIP)
    policy_BT, _ = policy_loss(x.new_BT, x.logprobs_BT, whitened_BT, clip=CLIP)
    difference_BT = x.new_BT - x.logprobs_BT
    return {
        "rewards": (theirs["rewards"], rewards_BT),
        "returns": (theirs["returns"], returns_BT),
        "advantages": (theirs["advantages"], whitened_BT * ((n - 1) / n) ** 0.5),
        "whitening": (masked_whiten(advantages_BT, x.counts_BT)[x.counts_BT], whitened_BT[x.counts_BT]),
        "whitening, all but the factor sqrt((n - 1) / n)": (
            masked_whiten(advantages_BT, x.counts_BT)[x.counts_BT],
            whitened_BT[x.counts_BT] * ((n - 1) / n) ** 0.5,
        ),
        "policy loss": (losses["pg_loss"], policy_BT[x.counts_BT].mean()),
        "value loss": (losses["vf_loss"], value_BT[x.counts_BT].mean()),
        "value loss on TRL's tokens": (losses["vf_loss"], value_BT[counts_p1_BT].mean()),
        "approximate KL": (0.5 * (difference_BT**2).mean(), k3(x.logprobs_BT, x.new_BT)[x.counts_BT].mean()),
    }


def shared(x: Tensors) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """(TRL's, ours) of what does not depend on padding."""
    kl = {}
    for estimator in ("k1", "k3"):
        args = SimpleNamespace(kl_estimator=estimator)
        kl[estimator] = their(
            *PPO, "logr = ref_logprobs - logprobs", "kl = ", args=args, logprobs=x.logprobs_BT,
            ref_logprobs=x.ref_BT,
        )["kl"]  # fmt: skip
    flat_NV, tokens_N = x.logits_BTV.reshape(-1, VOCABULARY), x.tokens_BT.reshape(-1)
    logprobs_N, entropy_N = token_logprobs(flat_NV, tokens_N, temperature=0.7)
    warm_BTV = x.logits_BTV / (0.7 + 1e-7)
    entropy_BT = their(
        *PPO, "prob_dist = torch.nn", "entropy = ", logits=warm_BTV
    )["entropy"]  # fmt: skip
    preference = their(
        "trainer/reward_trainer.py", "compute_loss", "rewards_chosen, rewards_rejected", "loss += ", inputs={},
        outputs=SimpleNamespace(logits=x.scores_B[:, None]),
        self=SimpleNamespace(args=SimpleNamespace(center_rewards_coefficient=CENTRING)),
    )["loss"]  # fmt: skip
    chosen_B, rejected_B = x.scores_B.chunk(2)
    sure_B = torch.ones_like(chosen_B)
    kl_B = (x.logprobs_BT - x.ref_BT).sum(dim=1)
    rloo = their(
        *RLOO, "# Include the KL penalty in the reward", "advantages = torch.zeros_like",
        self=SimpleNamespace(beta=KL_WEIGHT), old_per_token_logps=x.logprobs_BT, ref_per_token_logps=x.ref_BT,
        completion_mask=torch.ones(ROWS, TOKENS), gather=lambda tensor: tensor, rewards=x.scores_B,
        num_generations=GROUP,
    )["advantages"]  # fmt: skip
    grpo = their(
        *GRPO, "rewards = (rewards_per_func", "advantages = advantages /",
        self=SimpleNamespace(reward_weights=torch.ones(1), scale_rewards="group"), device="cpu",
        rewards_per_func=x.scores_B[:, None], unscorable_mask=torch.zeros(ROWS, dtype=torch.bool),
        num_generations=GROUP,
    )["advantages"]  # fmt: skip
    return {
        "log-probabilities at temperature 0.7": (
            selective_log_softmax(warm_BTV, x.tokens_BT).reshape(-1),
            logprobs_N,
        ),
        "entropy": (entropy_BT.reshape(-1), entropy_N),
        "k1": (kl["k1"], x.logprobs_BT - x.ref_BT),
        "k3": (kl["k3"], k3(x.logprobs_BT, x.ref_BT)),
        "reward model loss (probability 1)": (
            preference,
            preference_loss(chosen_B, rejected_B, sure_B, centring=CENTRING).mean(),
        ),
        "RLOO advantages, KL in the reward": (rloo, leave_one_out(x.scores_B - KL_WEIGHT * kl_B, group=GROUP)),
        "GRPO advantages": (grpo, group_normalised(x.scores_B, group=GROUP)),
    }


def main() -> None:
    largest: dict[str, float] = {}
    for seed in range(5):
        full, padded = Tensors(seed, padded=False), Tensors(seed, padded=True)
        found = shared(full) | ppo(full)
        for name, pair in ppo(padded).items():
            if name not in ("whitening", "approximate KL"):
                found[f"{name}, responses with padding"] = pair
        found["whitening, all of it"] = found.pop("whitening")
        for name, (theirs, ours) in found.items():
            largest[name] = max(largest.get(name, 0.0), float((theirs - ours).abs().max()))
    rows = [{"name": name, "difference": found, "why": ON_PURPOSE.get(name, "")} for name, found in largest.items()]
    print(json.dumps(rows))


if __name__ == "__main__":
    main()
