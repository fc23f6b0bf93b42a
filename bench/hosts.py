"""Training across two hosts: network namespaces on this machine, joined by a virtual cable, with torchrun and gloo.

python bench/hosts.py [--json FILE]        needs Linux, root and iproute2

A random two-layer model; the reward model and PPO of one process against those of two hosts, and a host that is killed.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from claims import Claim, claim, report
from hrlaif import artifacts
from hrlaif import config as configuration
from hrlaif.types import Basis, Message, Pair, Prompt, Split, Task

HOSTS = ("hrlaif-one", "hrlaif-two")
CABLE = ("hrlaif0", "hrlaif1")
ADDRESS = "10.213.77.{}"
PROMPTS = [Prompt(f"p{n}", (Message("user", f"say {n}"),), "chat", Task.OPEN, split=Split.TRAIN) for n in range(40)]
PAIRS = [
    Pair(p.id, p.messages, "YES " * (1 + n % 3), "no " * (1 + n % 2), 0.95, Basis.JUDGE, "chat")
    for n, p in enumerate(PROMPTS[:12] * 2)
]


@contextlib.contextmanager
def hosts() -> Iterator[None]:
    """Two network namespaces that reach each other and nothing else."""
    ip = ["ip"]
    for name in HOSTS:
        subprocess.run([*ip, "netns", "add", name], check=True)
    try:
        subprocess.run([*ip, "link", "add", CABLE[0], "type", "veth", "peer", "name", CABLE[1]], check=True)
        for number, (name, end) in enumerate(zip(HOSTS, CABLE, strict=True), start=1):
            subprocess.run([*ip, "link", "set", end, "netns", name], check=True)
            inside = [*ip, "-n", name]
            subprocess.run([*inside, "addr", "add", f"{ADDRESS.format(number)}/24", "dev", end], check=True)
            for device in (end, "lo"):
                subprocess.run([*inside, "link", "set", device, "up"], check=True)
        yield
    finally:
        for name in HOSTS:
            subprocess.run([*ip, "netns", "del", name], check=False)


def run_folder(folder: Path, model: Path) -> Path:
    """A run whose next stages are the reward model and the policy."""
    values: dict[str, Any] = {
        "run_dir": str(folder), "arms": ["rlaif"], "threads": 1, "model": {"name": str(model), "device": "cpu"},
        "reward": {"pairs_per_step": 7, "checkpoint_every": 1, "learning_rate": 1e-3, "epochs": 12},
        "policy": {"steps": 4, "rollouts": 9, "minibatch": 4, "max_tokens": 6, "learning_rate": 1e-3,
                   "checkpoint_every": 1},
    }  # fmt: skip
    (folder / "rlaif").mkdir(parents=True)
    (folder / "config.toml").write_text(configuration.dump(configuration.parse(values, where="bench")))
    artifacts.write_records(folder / "prompts.jsonl", PROMPTS, fingerprint="p")
    artifacts.write_records(folder / "rlaif" / "pairs.jsonl", PAIRS, fingerprint="q")
    return folder


def started(host: int, stage: str, run: Path) -> subprocess.Popen[str]:
    """Torchrun on one of the hosts; the first has the meeting point."""
    meeting = ["--rdzv-backend", "c10d", "--rdzv-endpoint", f"{ADDRESS.format(1)}:29511", "--rdzv-id", "bench"]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nnodes", "2", "--nproc-per-node", "1", *meeting]
    local = ["--local-addr", ADDRESS.format(host + 1)]
    command = ["ip", "netns", "exec", HOSTS[host], *torchrun, *local, "-m", "hrlaif", stage, str(run)]
    environment = {**os.environ, "GLOO_SOCKET_IFNAME": CABLE[host], "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment, start_new_session=True)


def on_both(stage: str, run: Path) -> None:
    processes = [started(host, stage, run) for host in (0, 1)]
    said = [process.communicate(timeout=300)[1] for process in processes]
    assert not any(process.returncode for process in processes), said


def alone(stage: str, run: Path) -> None:
    subprocess.run([sys.executable, "-m", "hrlaif", stage, str(run)], check=True, stderr=subprocess.DEVNULL)


def gap(one: Path, other: Path) -> float:
    """The largest difference between two folders' weights."""
    largest = 0.0
    for path in sorted(one.glob("*.safetensors")):
        ours, theirs = load_file(path), load_file(other / path.name)
        largest = max(largest, *(float((ours[name] - theirs[name]).abs().max()) for name in ours))
    return largest


def curve_gap(one: Path, other: Path, key: str) -> float:
    rows = [
        [json.loads(line)[key] for line in (folder / "metrics.jsonl").read_text().splitlines()]
        for folder in (one, other)
    ]
    return max(abs(a - b) for a, b in zip(*rows, strict=True))


def same_result(one: Path, two: Path) -> list[Claim]:
    claims = []
    for stage, key in (("reward", "loss"), ("policy", "reward")):
        alone(stage, one)
        on_both(stage, two)
        ours, theirs = one / "rlaif" / stage, two / "rlaif" / stage
        claims.append(
            claim(f"{stage}: largest difference of a weight, two hosts", [gap(ours, theirs)], "", at_most=1e-4)
        )
        difference = curve_gap(ours, theirs, key)
        claims.append(claim(f"{stage}: largest difference of a step's {key}", [difference], "", at_most=1e-3))
    return claims


def killed(run: Path, whole: Path) -> list[Claim]:
    """The second host's process is killed in the middle: both torchruns end, and the same command continues."""
    processes = [started(host, "reward", run) for host in (0, 1)]
    checkpoints = run / "rlaif" / "reward.partial" / "checkpoints"
    while not (checkpoints / "step-000004").exists():
        time.sleep(0.01)
        assert all(process.poll() is None for process in processes), "it ended before it could be killed"
    os.killpg(processes[1].pid, signal.SIGKILL)
    start_s = time.monotonic()
    said, _ = (process.communicate(timeout=300)[1] for process in processes)
    ended_s = time.monotonic() - start_s
    lines = [line for line in said.splitlines() if line.startswith("error:")]
    print(*lines, sep="\n", file=sys.stderr)
    kept = max(int(path.name[5:11]) for path in checkpoints.glob("step-??????"))
    on_both("reward", run)
    again = gap(run / "rlaif" / "reward", whole / "rlaif" / "reward")
    return [
        claim("killed host: seconds until the other one's job had ended", [ended_s], "s", at_most=60),
        claim("killed host: messages of what went wrong", [len(lines)], "", at_least=1),
        claim("killed host: steps kept", [kept], "", at_least=4),
        claim("killed host: largest difference of a weight after going on", [again], "", at_most=1e-3),
    ]


def tiny_model(folder: Path) -> Path:
    path = Path(__file__).resolve().parents[1] / "tests" / "tiny_model.py"
    spec = importlib.util.spec_from_file_location("tiny_model", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    model: Path = module.write_tiny_model(folder)
    return model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if os.geteuid() or shutil.which("ip") is None:
        raise SystemExit("network namespaces need root and iproute2")
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="hosts-") as name, hosts():
        folder = Path(name)
        model = tiny_model(folder / "model")
        one, two, other = (run_folder(folder / run, model) for run in ("one", "two", "killed"))
        report([*same_result(one, two), *killed(other, one)], options.json)


if __name__ == "__main__":
    main()
