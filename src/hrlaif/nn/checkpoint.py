"""Checkpoints that are whole or absent, so that a killed training continues where it was.

Of several processes only the first writes, and all read.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from hrlaif.artifacts import writing_to
from hrlaif.nn import processes

KEPT = 2


class Checkpoints:
    """The last checkpoints of one training, in folders `step-000010`.

    `settings` (a fingerprint) stands for everything the training depends on; checkpoints of other settings are never
    loaded. A checkpoint folder also holds whatever `also` writes, e.g. the model as its users load it.
    """

    def __init__(self, folder: Path, *, settings: str) -> None:
        self.folder, self.settings = folder, settings

    def save(self, step: int, state: dict[str, Any], also: Callable[[Path], None] | None = None) -> None:
        """Write one checkpoint, then drop all but the newest."""
        if not processes.is_main():
            return
        final = self.folder / f"step-{step:06d}"
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
        for old in self._whole()[:-KEPT]:
            shutil.rmtree(old)

    def load(self, device: torch.device) -> dict[str, Any] | None:
        """The newest checkpoint of these settings that can be read, None if there is none."""
        state = self._newest(device)
        processes.check_same("the checkpoint to continue from (step)", state and state["step"])
        return state

    def _newest(self, device: torch.device) -> dict[str, Any] | None:
        for folder in reversed(self._whole()):
            try:
                state: dict[str, Any] = torch.load(folder / "state.pt", map_location=device, weights_only=True)
            except (OSError, RuntimeError, EOFError, ValueError):
                continue
            if state["settings"] == self.settings:
                return state
        return None

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
    """`metrics.jsonl`: one line per step, cut back to the checkpoint's step on resume."""

    def __init__(self, path: Path, *, steps_done: int) -> None:
        self.path = path
        lines = path.read_bytes().splitlines(keepends=True)[:steps_done] if path.exists() else []
        self._rows: list[dict[str, float]] = [json.loads(line) for line in lines]
        if processes.is_main():
            with writing_to(path):
                temporary = path.with_name(path.name + ".tmp")
                temporary.write_bytes(b"".join(lines))
                temporary.replace(path)

    def add(self, row: dict[str, float]) -> None:
        """Append one step."""
        self._rows.append(row)
        if processes.is_main():
            with writing_to(self.path), self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")

    def rows(self) -> list[dict[str, float]]:
        """All steps so far."""
        return list(self._rows)
