"""Run folders whose next stages are trainings of the tiny model, and how far apart what came of two is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hrlaif import artifacts
from hrlaif import config as configuration
from hrlaif.config import Config
from hrlaif.types import Basis, Message, Pair, Prompt, Split, Task

PROMPTS = [
    Prompt(f"p{n}", (Message("user", f"say {n}"),), "chat", (Task.OPEN, Task.SHORT)[n % 2], str(n), split=Split.TRAIN)
    for n in range(40)
]
PAIRS = [
    Pair(p.id, p.messages, "YES " * (1 + n % 3), "no " * (1 + n % 2), 0.95, Basis.JUDGE, "chat")
    for n, p in enumerate(PROMPTS[:12] * 2)
]


def run_folder(
    folder: Path, tiny_model: Path, *, processes: int = 1, policy: dict[str, Any] | None = None, **reward: Any
) -> Config:
    """A run folder whose next stage is the reward model, with 7 pairs a step: two processes get uneven shares."""
    values = {
        "run_dir": str(folder),
        "arms": ["rlaif"],
        "threads": 1,
        "processes": processes,
        "model": {"name": str(tiny_model), "device": "cpu"},
        "reward": {"pairs_per_step": 7, "checkpoint_every": 1, "learning_rate": 1e-3, "batch_tokens": 300} | reward,
        "policy": {
            "steps": 3, "rollouts": 9, "minibatch": 4, "epochs": 2, "max_tokens": 6, "learning_rate": 1e-3,
            "kl_target_nats": 1.0, "stop_kl": 1e-4, "measure_every": 1, **(policy or {}),
        },
    }  # fmt: skip
    config = configuration.parse(values, where="test")
    (folder / "rlaif").mkdir(parents=True)
    (folder / "config.toml").write_text(configuration.dump(config))
    artifacts.write_records(folder / "prompts.jsonl", PROMPTS, fingerprint="p")
    artifacts.write_records(folder / "rlaif" / "pairs.jsonl", PAIRS, fingerprint="q")
    return config


def gap(one: Path, other: Path) -> float:
    """How far apart two adapters are, relative to their size."""
    from safetensors.torch import load_file

    ones, others = load_file(one / "adapter_model.safetensors"), load_file(other / "adapter_model.safetensors")
    apart = sum(float((ones[name] - others[name]).norm() ** 2) for name in ones)
    return float((apart / sum(float(tensor.norm() ** 2) for tensor in ones.values())) ** 0.5)


def curve(folder: Path) -> list[dict[str, float]]:
    """The rows of a training's `metrics.jsonl`."""
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def children(pid: int) -> list[int]:
    """The processes that a process has started."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
