"""Tests of training in several processes: real ones, with gloo on the CPU."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hrlaif import config as configuration
from hrlaif import make
from hrlaif.errors import ModelError
from hrlaif.run import Run
from hrlaif.work import Order, launch
from training_runs import children, curve, gap, run_folder

torch = pytest.importorskip("torch", reason="needs the train extra: pip install 'hrlaif[train]'")


@pytest.fixture(autouse=True)
def _one_thread(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


# A stage's training, but the policy's against the reward model of the run that has one.
BOTH = """
from pathlib import Path
from hrlaif import make, policy, work

def both(run, arm, out):
    make.train_reward(run, arm, out / "reward")
    (run.folder / arm / "reward").exists() or (run.folder / arm / "reward").symlink_to(REWARD or out / "reward")
    make.train_policy(run, arm, out / "policy")
"""
FOLLOW = "\nwork.follow({'both': both}, tell=None)"


@pytest.mark.parametrize(
    "policy",
    [
        {},
        {"critic": "adapter"},
        {"advantages": "rloo", "rollouts": 10, "samples_per_prompt": 2},
        {
            "advantages": "grpo",
            "rollouts": 12,
            "samples_per_prompt": 4,
            "max_tokens": 9,
            "mix": {"verifier": 1.0, "unreadable": 0.5, "length": 0.1, "length_target": 4},
        },
    ],
    ids=["critic on the policy", "critic apart", "no critic, served", "group-normalised, verified and short"],
)
def test_two_processes_make_the_updates_that_one_makes(
    tiny_model: Path, tmp_path: Path, vllm_like: Callable[..., Any], policy: dict[str, Any]
) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    space: dict[str, Any] = {"REWARD": None}
    exec(BOTH, space)
    watched: dict[str, Any] = {"early_stop": {"every": 2, "patience": 2}, "policy": policy}
    space["both"](Run(run_folder(one, tiny_model, **watched)), "rlaif", one / "out")
    code = f"REWARD = {str(one / 'out' / 'reward')!r}\n{BOTH}{FOLLOW}"
    with vllm_like(tiny_model) as server:
        if policy.get("advantages") == "rloo":  # the two also let a server draw their responses
            watched["policy"] = policy | {"endpoint": {"url": server.url, "model": "tiny"}}
        run_folder(two, tiny_model, processes=2, **watched)
        launch(Order("both", str(two), "rlaif", str(two / "out")), 2, command=(sys.executable, "-c", code))
    # One process tells the server what to load: the start, and the policy after each of 3 steps.
    assert len(server.loaded) == (4 if server.bodies else 0)
    assert bool(server.bodies) == (policy.get("advantages") == "rloo")
    for model in ("reward", "policy"):
        alone, shared = curve(one / "out" / model), curve(two / "out" / model)
        assert len(alone) == len(shared) > 2
        for row, other in zip(alone, shared, strict=True):
            for key in row.keys() - {"seconds", "tokens_per_s", "ratio_error"}:
                assert other[key] == pytest.approx(row[key], rel=1e-3, abs=1e-4), (model, row["step"], key)
        assert gap(one / "out" / model, two / "out" / model) < 1e-5
    # The limit on the KL ended the updates of some step early, in both processes alike.
    assert any(0 < row["updates"] < 6 for row in curve(two / "out" / "policy"))
    assert {row["kl_weight"] for row in curve(two / "out" / "policy")} != {0.05}
    held = [json.loads((run / "out" / "reward" / "summary.json").read_text())["held_out"] for run in (one, two)]
    assert held[0]["accuracy"] == held[1]["accuracy"]
    assert any("held_out_loss" in row for row in curve(two / "out" / "reward"))
    if "mix" in policy:
        verified = curve(two / "out" / "policy")
        # Of half of the prompts an answer can be verified.
        assert any(0 < row["paid_verifier"] < 0.5 for row in verified)
        assert all(row["paid_length"] == pytest.approx(-0.5) for row in verified)
    kept = [json.loads((run / "out" / "policy" / "summary.json").read_text())["kept"] for run in (one, two)]
    assert kept[0] == kept[1]


FAILING = """
import os, signal, torch
from hrlaif import work
from hrlaif.errors import ModelError
from hrlaif.nn import processes
from hrlaif.nn.optimise import optimiser, step

def failing(run, arm, out):
    weight = torch.nn.Parameter(torch.ones(3))
    weight.grad = torch.ones(3)
    if processes.rank() == 1:
        if arm == "nan":
            weight.grad[0] = float("nan")
        if arm == "memory":
            raise ModelError("PPO: out of GPU memory. Try less.")
        if arm == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
    if arm == "files":
        processes.check_same("the step", processes.rank() + 6)
    step(optimiser([weight], learning_rate=0.1), learning_rate=0.1, max_grad_norm=1.0, where="PPO, step 3")

work.follow({"failing": failing}, tell=None)
"""


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("nan", r"^PPO, step 3: the gradients are nan"),
        ("memory", r"^PPO: out of GPU memory. Try less.$"),
        ("killed", r"process 2 of 2 was killed \(SIGKILL\), so all were ended.*Checkpoints are kept"),
        ("files", r"do not agree on the step: 6, 7\."),
    ],
)
def test_what_fails_in_one_process_ends_all_and_is_said_once(
    tiny_model: Path, tmp_path: Path, how: str, message: str
) -> None:
    run_folder(tmp_path / "run", tiny_model)
    order = Order("failing", str(tmp_path / "run"), how, str(tmp_path))
    with pytest.raises(ModelError, match=message):
        launch(order, 2, command=(sys.executable, "-c", FAILING))


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds a process's children in /proc")
def test_a_killed_process_ends_the_command_and_torchrun_continues_from_its_checkpoint(
    tiny_model: Path, tmp_path: Path
) -> None:
    run, alone = tmp_path / "run", tmp_path / "alone"
    run_folder(run, tiny_model, processes=2, epochs=12)
    command = subprocess.Popen([sys.executable, "-m", "hrlaif", "reward", str(run)], stderr=subprocess.PIPE, text=True)
    checkpoints = run / "rlaif" / "reward.partial" / "checkpoints"
    while not (checkpoints / "step-000003").exists() and command.poll() is None:
        time.sleep(0.01)
    workers = children(command.pid)
    os.kill(workers[1], signal.SIGKILL)
    _, said = command.communicate(timeout=60)
    assert command.returncode == 2, said
    assert said.count("error:") == 1
    assert "reward (rlaif): process 2 of 2 was killed (SIGKILL)" in said
    assert not any(Path(f"/proc/{worker}").exists() for worker in workers)
    # One process goes on from what two have left, and ends where one that had done all of it ends.
    shutil.copytree(checkpoints.parent, alone)
    done = max(int(path.name[5:11]) for path in checkpoints.glob("step-??????"))
    config = configuration.load(run / "config.toml")
    for out in (alone, tmp_path / "fresh"):
        make.train_reward(Run(config), "rlaif", out)
    steps = len(curve(tmp_path / "fresh"))
    assert 3 <= done < steps
    assert [row["seconds"] for row in curve(alone)][:done] == [
        row["seconds"] for row in curve(run / "rlaif" / "reward.partial")
    ][:done]
    assert gap(alone, tmp_path / "fresh") < 1e-3
    # So do two that an outer launcher has started.
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    ended = subprocess.run(
        [*torchrun, "-m", "hrlaif", "reward", str(run)], capture_output=True, text=True, timeout=120, check=False
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr.count("reward (rlaif):") == 1
    assert len(curve(run / "rlaif" / "reward")) == steps
    assert gap(run / "rlaif" / "reward", tmp_path / "fresh") < 1e-3
    assert not (run / "rlaif" / "reward" / "checkpoints").exists()
