"""Tests of what is said where memory runs out."""

from __future__ import annotations

import pytest
import torch

from hrlaif.errors import ModelError
from hrlaif.nn.memory import out_of_memory


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory: you tried to"),
    ],
)
def test_running_out_of_memory_says_what_to_make_smaller(error: Exception) -> None:
    with (
        pytest.raises(ModelError, match=r"PPO: out of .*memory. Try a smaller batch"),
        out_of_memory("PPO", "a smaller batch"),
    ):
        raise error


def test_other_errors_pass() -> None:
    with pytest.raises(RuntimeError, match="something else"), out_of_memory("PPO", "a smaller batch"):
        raise RuntimeError("something else")
