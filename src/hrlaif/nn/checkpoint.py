"""Checkpoints that are whole or absent, so that a killed training continues where it was.

Of several processes only the first writes, and all read.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from hrlaif.artifacts import writing_to
from hrlaif.nn import processes

KEPT = 2


class Checkpoints:
    """The last checkpoints of one training, and those it is told to keep, in folders `step-000010`.

    `settings` (a fingerprint) stands for everything the training depends on; checkpoints of other settings are never
    loaded. A checkpoint folder also holds whatever `also` writes, e.g. the model as its users load it.
    """

    def __init__(self, folder: Path, *, settings: str) -> None:
        self.folder, self.settings = folder, settings

    def save(
        self, step: int, state: dict[str, Any], also: Callable[[Path], None] | None = None, *, keep: Sequence[int] = ()
    ) -> None:
        """Write one checkpoint, then drop all but the newest and those of the steps in `keep`."""
        if not processes.is_main():
            return
        final = self._of(step)
        temporary = self.folder / f"{final.name}.tmp"
        with writing_to(final):
            shutil.rmtree(temporary, ignore_errors=True)
            temporary.mkdir(parents=True)
            if also is not None:
                also(temporary)
            with (temporary / "state.pt").open("wb") as file:
                torch.save({"settings": self.settings, "step": step, **state}, file)
                file.flush()
                os.fsync(file.fileno())
            shutil.rmtree(final, ignore_errors=True)
            temporary.replace(final)
        kept = [self._of(one) for one in keep]
        for old in self._whole()[:-KEPT]:
            if old not in kept:
                shutil.rmtree(old)

    def load(self, device: torch.device) -> dict[str, Any] | None:
        """The newest checkpoint of these settings that can be read, None if there is none."""
        found = (self._read(folder, device) for folder in reversed(self._whole()))
        state = next((state for state in found if state is not None), None)
        processes.check_same("the checkpoint to continue from (step)", state and state["step"])
        return state

    def load_step(self, step: int, device: torch.device) -> dict[str, Any] | None:
        """The checkpoint of one step, None if it is not there any more."""
        state = self._read(self._of(step), device)
        # Also so that the first process does not clear away what another has yet to read.
        processes.check_same("the checkpoint to keep (step)", state and state["step"])
        return state

    def _read(self, folder: Path, device: torch.device) -> dict[str, Any] | None:
        try:
            state: dict[str, Any] = torch.load(folder / "state.pt", map_location=device, weights_only=True)
        except (OSError, RuntimeError, EOFError, ValueError):
            return None
        return state if state["settings"] == self.settings else None

    def _of(self, step: int) -> Path:
        return self.folder / f"step-{step:06d}"

    def clear(self) -> None:
        """Remove all checkpoints: the training is complete."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _whole(self) -> list[Path]:
        if not self.folder.exists():
            return []
        return sorted(path for path in self.folder.glob("step-*") if path.suffix != ".tmp")


def trained_tensors(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    """The tensors that training changes, by name."""
    return {name: tensor.detach() for name, tensor in module.named_parameters() if tensor.requires_grad}


@torch.no_grad()
def restore_tensors(module: torch.nn.Module, saved: dict[str, torch.Tensor]) -> None:
    """Put saved tensors back, in place, so that an optimiser's references stay valid."""
    parameters = dict(module.named_parameters())
    for name, tensor in saved.items():
        parameters[name].copy_(tensor)


class Curve:
    """`metrics.jsonl`: one line per step, cut back to the checkpoint's step on resume.

    With `events`, and where the package is installed, every number also goes to event files for TensorBoard, in a
    folder `tensorboard` beside it; they are made from `metrics.jsonl` and written anew on resume.
    """

    def __init__(self, path: Path, *, steps_done: int, events: bool = False) -> None:
        self.path = path
        lines = path.read_bytes().splitlines(keepends=True)[:steps_done] if path.exists() else []
        self._rows: list[dict[str, float]] = [json.loads(line) for line in lines]
        self._events: Any = None
        if processes.is_main():
            with writing_to(path):
                temporary = path.with_name(path.name + ".tmp")
                temporary.write_bytes(b"".join(lines))
                temporary.replace(path)
                self._events = _event_writer(path.with_name("tensorboard")) if events else None
                for row in self._rows:
                    self._show(row)

    def add(self, row: dict[str, float]) -> None:
        """Append one step."""
        self._rows.append(row)
        if processes.is_main():
            with writing_to(self.path), self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
                self._show(row)

    def _show(self, row: dict[str, float]) -> None:
        if self._events is not None:
            for name, value in row.items():
                if name != "step":
                    self._events.add_scalar(name, value, int(row["step"]))
            self._events.flush()

    def rows(self) -> list[dict[str, float]]:
        """All steps so far."""
        return list(self._rows)


def _event_writer(folder: Path) -> Any:
    """A writer of event files, or None where TensorBoard is not installed."""
    if importlib.util.find_spec("tensorboard") is None:
        print(
            "report.tensorboard is set, but TensorBoard is not installed (pip install 'hrlaif[tensorboard]'); "
            "the curves are in metrics.jsonl all the same.",
            file=sys.stderr,
            flush=True,
        )
        return None
    shutil.rmtree(folder, ignore_errors=True)
    return importlib.import_module("torch.utils.tensorboard").SummaryWriter(str(folder))
