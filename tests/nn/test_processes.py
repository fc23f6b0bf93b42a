"""Tests of what a process does alone, and of the device it takes; several real ones: tests/test_work.py."""

from __future__ import annotations

import pytest
import torch

from hrlaif.errors import ConfigError
from hrlaif.nn import processes


def test_a_process_that_was_started_alone_is_one_of_one_and_sums_are_its_own() -> None:
    assert (processes.rank(), processes.count(), processes.is_main()) == (0, 1, True)
    assert processes.rejoined(processes.share([3, 1, 2])) == [3, 1, 2]
    assert processes.summed({"a": 1.5, "b": 2.0}) == {"a": 1.5, "b": 2.0}
    weight = torch.nn.Parameter(torch.ones(2))
    processes.sum_gradients([weight])
    assert weight.grad is None


@pytest.mark.parametrize(
    ("device", "local_rank", "count", "gpus", "expected"),
    [
        ("auto", 0, 1, 8, "auto"),
        ("cuda:3", 0, 1, 8, "cuda:3"),
        ("auto", 0, 2, 0, "auto"),
        ("cpu", 1, 2, 8, "cpu"),
        ("auto", 1, 2, 2, "cuda:1"),
        # The second machine of two: ranks 8 to 15, local ranks 0 to 7.
        ("cuda", 0, 16, 8, "cuda:0"),
    ],
)
def test_each_process_of_a_machine_takes_a_gpu_of_its_own(
    device: str, local_rank: int, count: int, gpus: int, expected: str
) -> None:
    assert processes.device_of(device, local_rank=local_rank, processes=count, gpus=gpus) == expected


def test_processes_that_would_share_a_gpu_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"model\.device: 'cuda:0' for 2 processes"):
        processes.device_of("cuda:0", local_rank=1, processes=2, gpus=8)
    with pytest.raises(ConfigError, match=r"more processes on this machine than its 1 GPU"):
        processes.device_of("auto", local_rank=1, processes=2, gpus=1)


def test_only_all_variables_of_a_launcher_make_a_process_one_of_several() -> None:
    launched = {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}
    assert processes.is_started_as_one_of_several(launched)
    assert not processes.is_started_as_one_of_several({**launched, "WORLD_SIZE": "1"})
    for name in launched:
        assert not processes.is_started_as_one_of_several({key: launched[key] for key in launched.keys() - {name}})
