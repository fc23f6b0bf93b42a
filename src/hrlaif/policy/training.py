"""PPO from the starting policy, resumable at every checkpoint."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hrlaif.artifacts import encode, file_hash, fingerprint, write_json
from hrlaif.config import PolicySection
from hrlaif.errors import ConfigError, DataError
from hrlaif.nn import processes
from hrlaif.nn.adapters import save_trained
from hrlaif.nn.backbone import placement
from hrlaif.nn.card import write_card
from hrlaif.nn.checkpoint import Checkpoints, Curve, restore_tensors, trained_tensors
from hrlaif.nn.memory import out_of_memory
from hrlaif.nn.optimise import optimiser, warmed_up
from hrlaif.nn.seeds import derive, permutation
from hrlaif.policy.actors import Actors
from hrlaif.policy.rollouts import Rollouts, collect
from hrlaif.policy.scores import Normaliser, adapted_kl_weight
from hrlaif.policy.update import When, update
from hrlaif.progress import Progress
from hrlaif.types import Prompt

REMEDY = "smaller policy.rollouts, policy.batch_tokens or policy.max_tokens, or policy.lora.gradient_checkpointing"


def train(
    prompts: Sequence[Prompt],
    *,
    base: str,
    reward: Path,
    section: PolicySection,
    out: Path,
    seed: int,
    device: str = "auto",
    dtype: str = "auto",
) -> dict[str, object]:
    """Train a policy with PPO against a reward model, held close to its start by a KL penalty.

    `out` gets the policy as transformers and PEFT load it, its tokenizer, `README.md`, `metrics.jsonl` (one line per
    step) and `summary.json`, which is returned. An attempt that died continues from its newest checkpoint in
    `out/checkpoints`, with the result of an uninterrupted training. Each checkpoint is a policy folder of its own.

    Raises:
        DataError: There are no prompts.
        ModelError: A model cannot be loaded, memory ran out, or training diverged; the message says what to change.
    """
    if not prompts:
        raise DataError("no prompts to train the policy on. Check the prompt sources and prompts.train.")
    if section.rollouts < processes.count():
        raise ConfigError(f"policy.rollouts: {section.rollouts} cannot be shared by {processes.count()} processes.")
    settings = fingerprint(
        "policy", section.model_dump(), base, seed, device, dtype, _digest(prompts), _folder_hash(reward)
    )
    out.mkdir(parents=True, exist_ok=True)
    with out_of_memory("PPO", REMEDY):
        actors = Actors(base, reward, section, placement(processes.own_device(device), dtype), seed=seed)
        training = Training(prompts, actors, section, seed=seed)
        rows = training.run(Checkpoints(out / "checkpoints", settings=settings), out / "metrics.jsonl")
    summary: dict[str, object] = {
        "base": base,
        "prompts": len(prompts),
        "cut_prompts": training.cut_prompts,
        "steps": len(rows),
        "rollouts": len(rows) * section.rollouts,
        "seconds": round(sum(row["seconds"] for row in rows), 2),
        "first": rows[0],
        "last": rows[-1],
    }
    if not processes.is_main():
        return summary
    save_trained(training.actors.policy, out)
    _write_card(out, base, section, summary)
    write_json(out / "summary.json", summary)
    Checkpoints(out / "checkpoints", settings=settings).clear()
    return summary


class Training:
    """The actors, the optimiser and what else one step hands to the next."""

    def __init__(self, prompts: Sequence[Prompt], actors: Actors, section: PolicySection, *, seed: int) -> None:
        self.actors, self.section, self.seed = actors, section, seed
        rendered = [self.actors.policy.chat.prompt_ids(prompt.messages) for prompt in prompts]
        longest = max(1, min(section.max_prompt_tokens, actors.policy.max_length - section.max_tokens))
        self.prompts = [ids[-longest:] for ids in rendered]
        self.cut_prompts = sum(len(ids) > longest for ids in rendered)
        self.modules = self.actors.trained
        parameters = [p for p in self.modules.parameters() if p.requires_grad]
        self.optimizer = optimiser(parameters, learning_rate=section.learning_rate)
        self.normaliser = Normaliser(section.score_normalise, clip=section.score_clip)
        self.kl_weight = section.kl_weight

    def run(self, checkpoints: Checkpoints, metrics: Path) -> list[dict[str, float]]:
        """All steps from the newest checkpoint on; returns the curve of all steps."""
        first = self._resume(checkpoints)
        curve = Curve(metrics, steps_done=first)
        steps = self.section.steps
        with Progress("policy, PPO steps", steps, done=first) as progress:
            for index in range(first, steps):
                curve.add(self.step(index))
                if (index + 1) % self.section.checkpoint_every == 0 and index + 1 < steps:
                    checkpoints.save(index + 1, self._state(), also=lambda path: save_trained(self.actors.policy, path))
                progress.advance()
        return curve.rows()

    def step(self, index: int) -> dict[str, float]:
        """One step: roll out, score, update; returns its line of the curve."""
        started = time.perf_counter()
        section = self.section
        where = f"PPO, step {index + 1} of {section.steps}"
        rollouts = collect(
            self.actors,
            self.prompts_of(index),
            [derive(self.seed, "rollout", index, row) for row in range(section.rollouts)],
            section,
            normaliser=self.normaliser,
            kl_weight=self.kl_weight,
            where=where,
            # The order of the first minibatches: each process then has drawn an equal part of every one.
            order=permutation(section.rollouts, self.seed, "minibatches", index, 0),
        )
        rate = warmed_up(section.learning_rate, index, section.warmup_steps)
        updated = update(
            self.actors,
            rollouts,
            self.optimizer,
            section,
            learning_rate=rate,
            when=When(index, self.seed, where),
        )
        seconds = time.perf_counter() - started
        row = {
            "step": index + 1,
            **_described(rollouts),
            **updated,
            "kl_weight": self.kl_weight,
            "learning_rate": rate,
            "seconds": round(seconds, 3),
            "tokens_per_s": round(rollouts.tokens / seconds, 1),
        }
        self.kl_weight = adapted_kl_weight(self.kl_weight, row["kl"], target_nats=section.kl_target_nats)
        return row

    def prompts_of(self, index: int) -> list[list[int]]:
        """The prompts of one step: all prompts in a new random order, again and again."""
        found = []
        for place in range(index * self.section.rollouts, (index + 1) * self.section.rollouts):
            epoch, within = divmod(place, len(self.prompts))
            found.append(self.prompts[permutation(len(self.prompts), self.seed, "prompts", epoch)[within]])
        return found

    def _state(self) -> dict[str, Any]:
        return {
            "tensors": trained_tensors(self.modules),
            "optimizer": self.optimizer.state_dict(),
            "normaliser": self.normaliser.state(),
            "kl_weight": self.kl_weight,
        }

    def _resume(self, checkpoints: Checkpoints) -> int:
        state = checkpoints.load(self.actors.policy.place.device)
        if state is None:
            return 0
        restore_tensors(self.modules, state["tensors"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.normaliser.restore(state["normaliser"])
        self.kl_weight = float(state["kl_weight"])
        return int(state["step"])


def _described(rollouts: Rollouts) -> dict[str, float]:
    """What a step's rollouts were like. `reward` is the reward model's own score, `kl` in nats per response."""
    scores_B = rollouts.scores_B
    return {
        "reward": float(scores_B.mean()),
        "reward_std": float(scores_B.std(unbiased=False)),
        "kl": float(rollouts.kl_B.mean()),
        "explained_variance": rollouts.explained_variance(),
        "response_tokens": rollouts.tokens / len(scores_B),
        "eos_share": float(rollouts.finished_B.float().mean()),
    }


def _digest(prompts: Sequence[Prompt]) -> str:
    digest = hashlib.sha256()
    for prompt in prompts:
        digest.update(encode(prompt))
    return digest.hexdigest()


def _folder_hash(folder: Path) -> list[str]:
    """What the reward model's weights depend on; its cards and metrics may change."""
    names = ("adapter_model.safetensors", "adapter_config.json", "config.json", "model.safetensors")
    return [file_hash(folder / name) for name in names if (folder / name).exists()]


def _write_card(out: Path, base: str, section: PolicySection, summary: dict[str, Any]) -> None:
    first, last = summary["first"], summary["last"]
    write_card(
        out,
        package="hrlaif.policy",
        template="card_adapter.txt" if section.lora.rank else "card_full.txt",
        values={
            "base": base,
            "steps": summary["steps"],
            "rollouts": section.rollouts,
            "first_reward": first["reward"],
            "last_reward": last["reward"],
            "kl": last["kl"],
            "kl_weight": section.kl_weight,
            "learning_rate": section.learning_rate,
        },
    )
