"""A trained tiny reward model and prompts for the policy's tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from hrlaif.config import LoraSection, RewardSection
from hrlaif.reward import train
from hrlaif.types import Basis, Message, Pair, Prompt, Task


@pytest.fixture(scope="session")
def prompts() -> list[Prompt]:
    return [Prompt(f"p{number}", (Message("user", f"say {number}"),), "chat", Task.OPEN) for number in range(12)]


def _trained(tiny_model: Path, out: Path, lora: LoraSection) -> Path:
    pairs = [
        Pair(f"p{number}", (Message("user", f"say {number}"),), "YES" * (1 + number % 3), "no", 0.95, Basis.JUDGE, "c")
        for number in range(16)
    ]
    section = RewardSection(learning_rate=1e-2, lora=lora)
    train(pairs, base=str(tiny_model), section=section, out=out, seed=0, device="cpu")
    return out


@pytest.fixture(scope="session")
def reward(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A reward adapter on the tiny model, on its upper layer."""
    return _trained(tiny_model, tmp_path_factory.mktemp("reward") / "adapter", LoraSection(rank=4, layers=1))


@pytest.fixture(scope="session")
def whole_reward(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A reward model that is a whole model of its own."""
    return _trained(tiny_model, tmp_path_factory.mktemp("reward") / "whole", LoraSection(rank=0))
