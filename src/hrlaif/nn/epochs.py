"""Training in epochs over a fixed list of items: the loop of the reward model and of supervised fine-tuning.

Items come in a random order of each epoch, one optimiser step from so many of them. What an item is, and its loss, is
the subclass's. Several processes share each step's items, and all have the same weights and curve.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch

from hrlaif.config import EarlyStopSection, EpochsSection
from hrlaif.errors import DataError
from hrlaif.nn import processes
from hrlaif.nn.backbone import Backbone
from hrlaif.nn.batches import by_length
from hrlaif.nn.checkpoint import Checkpoints, Curve, restore_tensors, trained_tensors
from hrlaif.nn.optimise import decayed, optimiser
from hrlaif.nn.optimise import step as optimiser_step
from hrlaif.nn.seeds import derive, permutation
from hrlaif.progress import Progress

Item = TypeVar("Item")


class Epochs(ABC, Generic[Item]):
    """A backbone under training and its optimiser. `title` names the training, `unit` its items."""

    def __init__(
        self, backbone: Backbone, section: EpochsSection, *, per_step: int, seed: int, title: str, unit: str
    ) -> None:
        self.backbone, self.epochs_section, self.per_step, self.seed = backbone, section, per_step, seed
        self.title, self.unit = title, unit
        parameters = [parameter for parameter in backbone.model.parameters() if parameter.requires_grad]
        self.optimizer = optimiser(parameters, learning_rate=section.learning_rate)
        self.batch_tokens = section.batch_tokens or backbone.place.tokens_per_pass

    @abstractmethod
    def length(self, item: Item) -> int:
        """Tokens that a pass runs for an item."""

    @abstractmethod
    def size(self, items: Sequence[Item]) -> float:
        """What a step's loss is divided by: a count of items, or of their tokens."""

    @abstractmethod
    def accumulate(self, part: Sequence[Item], of: float) -> dict[str, float]:
        """Add the gradients of some of a step's items; their share of the step's means, whose size is `of`.

        `of` is the size of the whole step, in every process: gradients are added up over them, not averaged.
        """

    def note(self, row: dict[str, float]) -> str:
        """How a step went, for the progress bar."""
        return f"loss {row['loss']:.3g}"

    def steps(self, items: Sequence[Item]) -> int:
        """Optimiser steps in all epochs."""
        return self.epochs_section.epochs * self._steps_per_epoch(len(items))

    def _steps_per_epoch(self, items: int) -> int:
        return -(-items // self.per_step)

    def run(
        self,
        items: Sequence[Item],
        checkpoints: Checkpoints,
        metrics: Path,
        stop: EarlyStop | None = None,
        *,
        tensorboard: bool = False,
    ) -> list[dict[str, float]]:
        """Train to the end from the newest checkpoint, and put the best weights back where `stop` watches.

        Returns:
            The curve: one row per step, those of earlier attempts included.
        """
        total, first = self.steps(items), 0
        state = checkpoints.load(self.backbone.place.device)
        if state is not None:
            restore_tensors(self.backbone.model, state["tensors"])
            self.optimizer.load_state_dict(state["optimizer"])
            first = int(state["step"])
            if stop is not None:
                stop.restore(state["early_stop"])
        curve = Curve(metrics, steps_done=first, events=tensorboard)
        with Progress(f"{self.title}, steps", total, done=first) as progress:
            for index in range(first, total):
                if stop is not None and stop.is_over:
                    break
                row = self.step(items, index, total)
                if stop is not None and stop.is_due(index + 1, total):
                    row["held_out_loss"] = stop.look(index + 1)
                curve.add(row)
                if (index + 1) % self.epochs_section.checkpoint_every == 0 and index + 1 < total:
                    checkpoints.save(index + 1, self._state(stop))
                progress.advance(note=self.note(row))
        if stop is not None:
            stop.keep_best()
        return curve.rows()

    def _state(self, stop: EarlyStop | None) -> dict[str, Any]:
        return {
            "tensors": trained_tensors(self.backbone.model),
            "optimizer": self.optimizer.state_dict(),
            "early_stop": stop.state() if stop is not None else None,
        }

    def step(self, items: Sequence[Item], index: int, total: int) -> dict[str, float]:
        """Step `index` of `total`: one update from `per_step` items; returns its line of the curve."""
        started = time.perf_counter()
        section = self.epochs_section
        epoch, within = divmod(index, self._steps_per_epoch(len(items)))
        order = permutation(len(items), self.seed, self.unit, epoch)
        chosen = [items[place] for place in order[within * self.per_step : (within + 1) * self.per_step]]
        torch.manual_seed(derive(self.seed, "dropout", index, processes.rank()))
        self.backbone.model.train(section.lora.dropout > 0)
        sums: dict[str, float] = {}
        size = self.size(chosen)
        mine = processes.share(sorted(chosen, key=self.length, reverse=True))
        for group in by_length([self.length(item) for item in mine], max_tokens=self.batch_tokens):
            for name, value in self.accumulate([mine[place] for place in group], size).items():
                sums[name] = sums.get(name, 0.0) + value
        means = processes.summed(sums)
        rate = decayed(section.learning_rate, index, total)
        where = f"{self.title}, step {index + 1} of {total}"
        norm = optimiser_step(self.optimizer, learning_rate=rate, max_grad_norm=section.max_grad_norm, where=where)
        self.backbone.model.eval()
        return {
            "step": index + 1,
            **means,
            "grad_norm": norm,
            "learning_rate": rate,
            "seconds": round(time.perf_counter() - started, 3),
        }


class EarlyStop:
    """Watches a held-out loss: keeps the weights that had the lowest, and ends a training that no longer lowers it.

    Its state goes into the checkpoints, so that a killed training stops where an uninterrupted one does. `loss` must
    return the same number in each of several processes, so that all stop together.
    """

    def __init__(self, module: torch.nn.Module, loss: Callable[[], float], section: EarlyStopSection) -> None:
        self.module, self.loss, self.section = module, loss, section
        self.best_loss, self.best_step, self.misses = float("inf"), 0, 0
        self.best: dict[str, torch.Tensor] = {}

    @property
    def is_over(self) -> bool:
        """True once `patience` looks in a row found nothing better."""
        return self.misses >= self.section.patience

    def is_due(self, step: int, total: int) -> bool:
        """True after every `every`-th step and the last one."""
        return step % self.section.every == 0 or step == total

    def look(self, step: int) -> float:
        """The held-out loss after `step` steps; keeps the weights if it is the lowest so far."""
        loss = self.loss()
        if loss < self.best_loss:
            self.best_loss, self.best_step, self.misses = loss, step, 0
            self.best = {name: tensor.clone() for name, tensor in trained_tensors(self.module).items()}
        else:
            self.misses += 1
        return loss

    def keep_best(self) -> None:
        """Put the best weights back.

        Raises:
            DataError: No held-out loss was a number.
        """
        if not self.best:
            raise DataError("early_stop: the held-out loss was never a number. Lower learning_rate.")
        restore_tensors(self.module, self.best)

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {
            "loss": self.best_loss,
            "step": self.best_step,
            "misses": self.misses,
            "tensors": self.best,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a checkpoint's state."""
        self.best_loss, self.best_step, self.misses = float(state["loss"]), int(state["step"]), int(state["misses"])
        self.best = state["tensors"]
