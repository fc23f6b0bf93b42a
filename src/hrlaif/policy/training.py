"""PPO from the starting policy, resumable at every checkpoint."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hrlaif.artifacts import encode, file_hash, fingerprint, write_json
from hrlaif.config import PolicySection
from hrlaif.errors import ConfigError, DataError, ModelError
from hrlaif.models.base import RewardScorer
from hrlaif.nn import processes
from hrlaif.nn.adapters import save_trained
from hrlaif.nn.backbone import placement
from hrlaif.nn.card import write_card
from hrlaif.nn.checkpoint import Checkpoints, Curve, restore_tensors, trained_tensors
from hrlaif.nn.memory import out_of_memory
from hrlaif.nn.optimise import falling, optimiser, warmed_up
from hrlaif.nn.seeds import derive, permutation
from hrlaif.policy.actors import Actors, Question
from hrlaif.policy.held_out import HeldOut, hold_out
from hrlaif.policy.mix import check_references
from hrlaif.policy.rollouts import collect
from hrlaif.policy.scores import Normaliser, adapted_kl_weight
from hrlaif.policy.served import ServedPolicy
from hrlaif.policy.update import When, update
from hrlaif.progress import Progress
from hrlaif.types import Prompt

REMEDY = "smaller policy.rollouts, policy.batch_tokens or policy.max_tokens, or policy.lora.gradient_checkpointing"


def train(
    prompts: Sequence[Prompt],
    *,
    base: str,
    reward: Path | RewardScorer,
    section: PolicySection,
    out: Path,
    seed: int,
    device: str = "auto",
    dtype: str = "auto",
    tensorboard: bool = False,
) -> dict[str, object]:
    """Train a policy with PPO against a reward model, held close to its start by a KL penalty.

    `reward` is a reward model's folder, or anything that scores texts. `out` gets the policy as transformers and PEFT
    load it, its tokenizer, `README.md`, `metrics.jsonl` (one line per step) and `summary.json`, which is returned. An
    attempt that died continues from its newest checkpoint in `out/checkpoints`, with the result of an uninterrupted
    training. Each checkpoint is a policy folder of its own.

    Raises:
        DataError: There are no prompts, or a reference that the verifier is to use cannot be used.
        ModelError: A model cannot be loaded, memory ran out, or training diverged; the message says what to change.
    """
    if not prompts:
        raise DataError("no prompts to train the policy on. Check the prompt sources and prompts.train.")
    if section.rollouts < processes.count():
        raise ConfigError(f"policy.rollouts: {section.rollouts} cannot be shared by {processes.count()} processes.")
    check_references(prompts, section)
    # None of these changes what is learnt: what ran out of memory goes on from its checkpoint in smaller parts, what
    # lost its server with another one or without.
    operational = ("batch_tokens", "checkpoint_every", "endpoint", "adapter_dir")
    semantic = section.model_dump(exclude=dict.fromkeys(operational, True) | {"lora": {"gradient_checkpointing"}})
    settings = fingerprint("policy", semantic, base, seed, device, dtype, _digest(prompts), _reward_hash(reward))
    out.mkdir(parents=True, exist_ok=True)
    checkpoints = Checkpoints(out / "checkpoints", settings=settings)
    with out_of_memory("PPO", REMEDY):
        actors = Actors(base, reward, section, placement(processes.own_device(device), dtype), seed=seed)
        if section.endpoint.url:
            actors.server = ServedPolicy(section, checkpoints.folder)
        training = Training(prompts, actors, section, seed=seed)
        if actors.server is not None:
            actors.server.check(longest=training.longest)
        rows = training.run(checkpoints, out / "metrics.jsonl", tensorboard=tensorboard)
        if actors.server is not None:
            actors.server.close()
        kept = training.take_kept(checkpoints)
    summary = {"base": base, "prompts": len(prompts), **training.summary(rows, kept=kept)}
    if not processes.is_main():
        return summary
    save_trained(training.actors.policy, out)
    _write_card(out, base, section, summary, kept=rows[kept - 1])
    write_json(out / "summary.json", summary)
    checkpoints.clear()
    return summary


class Training:
    """The actors, the optimiser and what else one step hands to the next."""

    def __init__(self, prompts: Sequence[Prompt], actors: Actors, section: PolicySection, *, seed: int) -> None:
        self.actors, self.section, self.seed = actors, section, seed
        rendered = [self.actors.policy.chat.prompt_ids(prompt.messages) for prompt in prompts]
        longest = max(1, min(section.max_prompt_tokens, actors.policy.max_length - section.max_tokens))
        self.cut_prompts = sum(len(ids) > longest for ids in rendered)
        cut = [Question(prompt, tuple(ids[-longest:])) for prompt, ids in zip(prompts, rendered, strict=True)]
        self.longest = max(len(question.tokens) for question in cut) + section.max_tokens
        self.questions, held_out = hold_out(cut, section)
        self.held_out = HeldOut(held_out, section, seed=seed)
        self.modules = self.actors.trained
        parameters = [p for p in self.modules.parameters() if p.requires_grad]
        self.optimizer = optimiser(parameters, learning_rate=section.learning_rate)
        self.normaliser = Normaliser(section.score_normalise, clip=section.score_clip)
        self.kl_weight = section.kl_weight

    def run(self, checkpoints: Checkpoints, metrics: Path, *, tensorboard: bool = False) -> list[dict[str, float]]:
        """All steps from the newest checkpoint on; returns the curve of all steps."""
        first = self._resume(checkpoints)
        curve = Curve(metrics, steps_done=first, events=tensorboard)
        steps = self.section.steps
        with Progress("policy, PPO steps", steps, done=first) as progress:
            if first == 0 and self.held_out.questions:
                self.held_out.measure(self.actors, step=0)
            for index in range(first, steps):
                step, row, best_before = index + 1, self.step(index), self.held_out.best
                is_measured = self.held_out.is_due(step)
                if is_measured:
                    row |= self.held_out.measure(self.actors, step=step)
                curve.add(row)
                # What was measured is saved too: the best of them is the policy in the end.
                if (is_measured or step % self.section.checkpoint_every == 0) and step < steps:
                    self._save(checkpoints, step, best_before)
                progress.advance(note=_note(row))
        return curve.rows()

    def _save(self, checkpoints: Checkpoints, step: int, best_before: dict[str, float]) -> None:
        # The best so far, and also the one that the checkpoint before this one speaks of, should this one be damaged.
        best = [int(found["step"]) for found in (self.held_out.best, best_before) if found]
        checkpoints.save(step, self._state(), also=lambda path: save_trained(self.actors.policy, path), keep=best)

    def summary(self, rows: Sequence[dict[str, float]], *, kept: int) -> dict[str, object]:
        """What is told of a training that made these steps and kept the policy of step `kept`."""
        return {
            "cut_prompts": self.cut_prompts,
            "steps": len(rows),
            "rollouts": len(rows) * self.section.rollouts,
            "seconds": round(sum(row["seconds"] for row in rows), 2),
            "first": rows[0],
            "last": rows[-1],
            "kept": {"step": kept, "rule": self.section.keep},
            "held_out": {
                "prompts": len(self.held_out.questions),
                "start": self.held_out.start,
                "best": self.held_out.best,
            },
        }

    def take_kept(self, checkpoints: Checkpoints) -> int:
        """Make the policy the one to be kept, and return its step."""
        step = int(self.held_out.best.get("step", self.section.steps))
        if self.section.keep == "last" or step == self.section.steps:
            return self.section.steps
        state = checkpoints.load_step(step, self.actors.policy.place.device)
        if state is None:
            raise ModelError(
                f"{checkpoints.folder}: the checkpoint of step {step}, the best one, cannot be read. Set "
                "policy.keep = 'last', or delete the folder and train again."
            )
        restore_tensors(self.modules, state["tensors"])
        return step

    def step(self, index: int) -> dict[str, float]:
        """One step: roll out, score, update; returns its line of the curve."""
        started = time.perf_counter()
        section = self.section
        where = f"PPO, step {index + 1} of {section.steps}"
        self.actors.publish(index)
        rollouts = collect(
            self.actors,
            self.questions_of(index),
            [derive(self.seed, "rollout", index, row) for row in range(section.rollouts)],
            section,
            normaliser=self.normaliser,
            kl_weight=self.kl_weight,
            where=where,
            # The order of the first minibatches: each process then has drawn an equal part of every one.
            order=permutation(section.rollouts, self.seed, "minibatches", index, 0),
        )
        rate = warmed_up(section.learning_rate, index, section.warmup_steps)
        if section.schedule == "linear":
            rate = falling(rate, index, section.steps)
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
            **rollouts.described(),
            **updated,
            **rollouts.server_gap,
            "kl_weight": self.kl_weight,
            "learning_rate": rate,
            "seconds": round(seconds, 3),
            "tokens_per_s": round(rollouts.tokens / seconds, 1),
        }
        self.kl_weight = adapted_kl_weight(self.kl_weight, row["kl"], target_nats=section.kl_target_nats)
        return row

    def questions_of(self, index: int) -> list[Question]:
        """The rows of one step: all prompts in a new random order, again and again, each `samples_per_prompt` times."""
        found: list[Question] = []
        count = self.section.rollouts // self.section.samples_per_prompt
        for place in range(index * count, (index + 1) * count):
            epoch, within = divmod(place, len(self.questions))
            question = self.questions[permutation(len(self.questions), self.seed, "prompts", epoch)[within]]
            found += [question] * self.section.samples_per_prompt
        return found

    def _state(self) -> dict[str, Any]:
        return {
            "tensors": trained_tensors(self.modules),
            "optimizer": self.optimizer.state_dict(),
            "normaliser": self.normaliser.state(),
            "kl_weight": self.kl_weight,
            "held_out": self.held_out.state(),
        }

    def _resume(self, checkpoints: Checkpoints) -> int:
        state = checkpoints.load(self.actors.policy.place.device)
        if state is None:
            return 0
        restore_tensors(self.modules, state["tensors"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.normaliser.restore(state["normaliser"])
        self.kl_weight = float(state["kl_weight"])
        self.held_out.restore(state["held_out"])
        return int(state["step"])


def _note(row: dict[str, float]) -> str:
    return f"reward {row['reward']:.3g}, KL {row['kl']:.3g}, {row['response_tokens']:.0f} tokens"


def _digest(prompts: Sequence[Prompt]) -> str:
    digest = hashlib.sha256()
    for prompt in prompts:
        digest.update(encode(prompt))
    return digest.hexdigest()


def _reward_hash(reward: Path | RewardScorer) -> list[str]:
    """What the scores depend on: a reward model's weights (its cards and metrics may change), or a scorer's name."""
    if not isinstance(reward, Path):
        return [f"{type(reward).__module__}.{type(reward).__qualname__}"]
    names = ("adapter_model.safetensors", "adapter_config.json", "config.json", "model.safetensors")
    return [file_hash(reward / name) for name in names if (reward / name).exists()]


def _write_card(
    out: Path, base: str, section: PolicySection, summary: dict[str, Any], *, kept: dict[str, float]
) -> None:
    write_card(
        out,
        package="hrlaif.policy",
        template="card_adapter.txt" if section.lora.rank else "card_full.txt",
        values={
            "base": base,
            "steps": summary["steps"],
            "rollouts": section.rollouts,
            "kept_step": summary["kept"]["step"],
            "first_reward": summary["first"]["reward"],
            "kept_reward": kept["reward"],
            "kl": kept["kl"],
            "kl_weight": section.kl_weight,
            "learning_rate": section.learning_rate,
        },
    )
