"""Training the reward model, resumable at every checkpoint."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from hrlaif.artifacts import encode, fingerprint, write_json
from hrlaif.config import RewardSection
from hrlaif.nn.adapters import save_trained, trainable
from hrlaif.nn.backbone import Backbone, placement
from hrlaif.nn.batches import by_length
from hrlaif.nn.card import write_card
from hrlaif.nn.checkpoint import Checkpoints, Curve, restore_tensors, trained_tensors
from hrlaif.nn.losses import preference_loss
from hrlaif.nn.memory import out_of_memory
from hrlaif.nn.optimise import decayed, optimiser
from hrlaif.nn.optimise import step as optimiser_step
from hrlaif.nn.scoring import batch_scores, score_tokens
from hrlaif.nn.seeds import derive, generator, permutation
from hrlaif.progress import Progress
from hrlaif.reward.data import TokenPair, render, split
from hrlaif.reward.measure import measure
from hrlaif.types import Pair

REMEDY = "a smaller reward.pairs_per_step, reward.batch_tokens or reward.max_tokens"


def train(
    pairs: Sequence[Pair],
    *,
    base: str,
    section: RewardSection,
    out: Path,
    seed: int,
    device: str = "auto",
    dtype: str = "auto",
    tensorboard: bool = False,
) -> dict[str, object]:
    """Train a Bradley-Terry reward model on soft labels, and measure it on held-out prompts.

    `out` gets the model as transformers and PEFT load it (sequence classification with one output), its tokenizer,
    `README.md`, `metrics.jsonl` (one line per step) and `summary.json`, which is returned. Checkpoints of an attempt
    that died, found in `out`, are continued; the result is that of an uninterrupted training.

    Raises:
        DataError: There are no pairs to train on.
        ModelError: The base cannot be loaded, memory ran out, or training diverged.
    """
    settings = fingerprint(
        "reward", section.model_dump(), base, seed, device, dtype, [encode(pair).hex() for pair in pairs]
    )
    out.mkdir(parents=True, exist_ok=True)
    training = Training(base, section, placement(device, dtype), seed=seed)
    longest = min(section.max_tokens, training.backbone.max_length)
    rendered = render(pairs, training.backbone.chat, max_tokens=longest)
    train_pairs, held_out = split(rendered, held_out=section.held_out)
    checkpoints = Checkpoints(out / "checkpoints", settings=settings)
    with out_of_memory("reward model", REMEDY):
        seconds = training.run(train_pairs, checkpoints, out / "metrics.jsonl", tensorboard=tensorboard)
        found = training.measure(held_out)
    summary: dict[str, object] = {
        "base": base,
        "pairs": len(rendered),
        "train_pairs": len(train_pairs),
        "cut_prompts": sum(item.was_cut for item in rendered),
        "steps": training.steps(train_pairs),
        "max_tokens": longest,
        "seconds": round(seconds, 2),
        "held_out": found,
    }
    save_trained(training.backbone, out)
    _write_card(out, training.backbone, section, summary)
    write_json(out / "summary.json", summary)
    checkpoints.clear()
    return summary


class Training:
    """The model under training and its optimiser."""

    def __init__(self, base: str, section: RewardSection, place: Any, *, seed: int) -> None:
        self.section, self.seed = section, seed
        self.backbone: Backbone = trainable(base, section.lora, place, seed=seed, scorer=True)
        self.head = self.backbone.inner.score
        self.parameters = [p for p in self.backbone.model.parameters() if p.requires_grad]
        _start_head(self.head, seed)
        self.optimizer = optimiser(self.parameters, learning_rate=section.learning_rate)
        self.batch_tokens = section.batch_tokens or place.tokens_per_pass

    def steps(self, pairs: Sequence[TokenPair]) -> int:
        """Optimiser steps in all epochs."""
        return self.section.epochs * self._steps_per_epoch(len(pairs))

    def _steps_per_epoch(self, pairs: int) -> int:
        return -(-pairs // self.section.pairs_per_step)

    def run(
        self, pairs: Sequence[TokenPair], checkpoints: Checkpoints, metrics: Path, *, tensorboard: bool = False
    ) -> float:
        """Train to the end from the newest checkpoint; returns the seconds of all steps, earlier attempts included."""
        total, first = self.steps(pairs), 0
        state = checkpoints.load(self.backbone.place.device)
        if state is not None:
            restore_tensors(self.backbone.model, state["tensors"])
            self.optimizer.load_state_dict(state["optimizer"])
            first = int(state["step"])
        curve = Curve(metrics, steps_done=first, events=tensorboard)
        with Progress("reward model, steps", total, done=first) as progress:
            for index in range(first, total):
                row = self.step(pairs, index, total)
                curve.add(row)
                if (index + 1) % self.section.checkpoint_every == 0 and index + 1 < total:
                    tensors = trained_tensors(self.backbone.model)
                    checkpoints.save(index + 1, {"tensors": tensors, "optimizer": self.optimizer.state_dict()})
                progress.advance(note=f"loss {row['loss']:.3g}, accuracy {row['accuracy']:.0%}")
        return sum(row["seconds"] for row in curve.rows())

    def step(self, pairs: Sequence[TokenPair], index: int, total: int) -> dict[str, float]:
        """Step `index` of `total`: one update from `pairs_per_step` pairs; returns its line of the curve."""
        started = time.perf_counter()
        epoch, within = divmod(index, self._steps_per_epoch(len(pairs)))
        order = permutation(len(pairs), self.seed, "pairs", epoch)
        size = self.section.pairs_per_step
        chosen_pairs = [pairs[place] for place in order[within * size : (within + 1) * size]]
        torch.manual_seed(derive(self.seed, "dropout", index))
        self.backbone.model.train(self.section.lora.dropout > 0)
        loss, right = 0.0, 0.0
        for group in by_length([2 * item.length for item in chosen_pairs], max_tokens=self.batch_tokens):
            part_loss, part_right = self._accumulate([chosen_pairs[place] for place in group], len(chosen_pairs))
            loss, right = loss + part_loss, right + part_right
        rate = decayed(self.section.learning_rate, index, total)
        where = f"reward model, step {index + 1} of {total}"
        norm = optimiser_step(self.optimizer, learning_rate=rate, max_grad_norm=self.section.max_grad_norm, where=where)
        self.backbone.model.eval()
        return {
            "step": index + 1,
            "loss": loss,
            "accuracy": right,
            "grad_norm": norm,
            "learning_rate": rate,
            "seconds": round(time.perf_counter() - started, 3),
        }

    def _accumulate(self, part: Sequence[TokenPair], of: int) -> tuple[float, float]:
        """Add the gradients of some of a step's pairs; their share of the step's loss and accuracy."""
        batch = self.backbone.batch([item.chosen for item in part] + [item.rejected for item in part])
        scores_B = batch_scores(self.backbone, self.head, batch)
        chosen_B, rejected_B = scores_B.chunk(2)
        probability_B = torch.tensor([item.pair.probability for item in part], device=scores_B.device)
        losses_B = preference_loss(chosen_B, rejected_B, probability_B, centring=self.section.centring)
        loss = losses_B.sum() / of
        loss.backward()  # type: ignore[no-untyped-call]
        right = (chosen_B > rejected_B).float() + 0.5 * (chosen_B == rejected_B).float()
        return float(loss.detach()), float(right.sum()) / of

    def measure(self, pairs: Sequence[TokenPair]) -> dict[str, Any]:
        """Accuracy on held-out pairs."""
        scores = score_tokens(
            self.backbone, self.head, [item.chosen for item in pairs] + [item.rejected for item in pairs]
        )
        return measure(pairs, scores[: len(pairs)], scores[len(pairs) :])


def _start_head(head: Any, seed: int) -> None:
    """A small random score head, the same for the same seed (transformers draws its own from a global generator)."""
    for name, weight in head.named_parameters():
        drawn = torch.randn(weight.shape, generator=generator(seed, "score head", name.split(".")[-1]))
        weight.data.copy_(drawn / (weight.shape[-1] + 1) ** 0.5)


def _write_card(out: Path, backbone: Backbone, section: RewardSection, summary: dict[str, object]) -> None:
    held: Any = summary["held_out"]
    if held:
        accuracy, short = held["accuracy"], held["baselines"]["shorter wins"]
        quality = (
            f"{accuracy['value']:.1%} of {held['pairs']} held-out pairs in the right order "
            f"(95 % interval {accuracy['low']:.1%} to {accuracy['high']:.1%}); "
            f"always picking the shorter response: {short['value']:.1%}."
        )
    else:
        quality = "Not measured: no pairs were held out."
    write_card(
        out,
        package="hrlaif.reward",
        template="card_adapter.txt" if section.lora.rank else "card_full.txt",
        values={
            "base": backbone.base,
            "end_token": repr(backbone.chat.tokenizer.convert_ids_to_tokens(backbone.chat.end_id)),
            "quality": quality,
            "train_pairs": summary["train_pairs"],
            "epochs": section.epochs,
            "learning_rate": section.learning_rate,
            "max_tokens": section.max_tokens,
        },
    )
