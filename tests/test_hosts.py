"""Tests of training on two hosts: network namespaces joined by a virtual cable, with torchrun and gloo on each.

What each measured is in the report of `-o junit_family=xunit1 --junitxml FILE`.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from hrlaif import config as configuration
from training_runs import children, curve, gap, run_folder

pytest.importorskip("torch", reason="needs the train extra: pip install 'hrlaif[train]'")

# Longer than a training takes to start and to end here, far shorter than anything that only gives up waits.
ENDS_S = 300


@dataclass(frozen=True)
class Host:
    """A network namespace, the end of the cable in it, and its address."""

    number: int
    name: str
    device: str
    address: str


def _ip(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def hosts() -> Iterator[tuple[Host, Host]]:
    """Two hosts that reach each other and nothing else."""
    if sys.platform != "linux" or shutil.which("ip") is None or os.geteuid() != 0:
        pytest.skip("two hosts are two network namespaces: Linux, root and iproute2")
    one, two = (Host(n, f"hrlaif-{os.getpid()}-{n}", f"hr{os.getpid()}-{n}", f"10.213.77.{n + 1}") for n in (0, 1))
    try:
        for command in (
            ("netns", "add", one.name),
            ("netns", "add", two.name),
            ("link", "add", one.device, "netns", one.name, "type", "veth", "peer", two.device, "netns", two.name),
        ):
            if (done := _ip(*command)).returncode:
                pytest.skip(f"network namespaces are not allowed here: {done.stderr.strip()}")
        for host in (one, two):
            _ip("-n", host.name, "addr", "add", f"{host.address}/24", "dev", host.device).check_returncode()
            for device in ("lo", host.device):
                _ip("-n", host.name, "link", "set", device, "up").check_returncode()
        yield one, two
    finally:
        _ip("netns", "del", one.name)
        _ip("netns", "del", two.name)


def started(host: Host, first: Host, *command: str, program: Sequence[str] = ("-m", "hrlaif")) -> subprocess.Popen[str]:
    """`torchrun` with one process on a host, as docs/scale.md has it."""
    where = ["--nnodes", "2", "--node-rank", str(host.number), "--master-addr", first.address, "--nproc-per-node", "1"]
    torchrun = [sys.executable, "-m", "torch.distributed.run", *where, *program, *command]
    path = os.pathsep.join(sys.path)
    environment = {**os.environ, "GLOO_SOCKET_IFNAME": host.device, "OMP_NUM_THREADS": "1", "PYTHONPATH": path}
    return subprocess.Popen(
        ["ip", "netns", "exec", host.name, *torchrun], stderr=subprocess.PIPE, text=True, env=environment
    )


def ended(agents: list[subprocess.Popen[str]]) -> tuple[list[int], str]:
    """The exit codes of both hosts, once both have ended, and all that they said."""
    try:
        said = "".join(agent.communicate(timeout=ENDS_S)[1] for agent in agents)
    finally:
        for agent in agents:
            agent.kill()
    return [agent.returncode for agent in agents], said


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Path:
    """A run folder in which one process has trained both models."""
    run = tmp_path_factory.mktemp("hosts") / "alone"
    run_folder(run, tiny_model, epochs=10, policy={"steps": 10, "checkpoint_every": 1})
    for stage in ("reward", "policy"):
        subprocess.run([sys.executable, "-m", "hrlaif", stage, str(run)], check=True, capture_output=True)
    return run


def before(stage: str, alone: Path, folder: Path) -> Path:
    """A run folder in which one process has done everything before a stage."""
    shutil.copytree(alone, folder)
    for made in ("reward", "policy")[("reward", "policy").index(stage) :]:
        shutil.rmtree(folder / "rlaif" / made)
    config = configuration.load(folder / "config.toml").model_copy(update={"run_dir": str(folder)})
    (folder / "config.toml").write_text(configuration.dump(config))
    return folder


@pytest.mark.parametrize(("stage", "victim"), [("reward", 1), ("policy", 0)])
def test_a_killed_process_ends_both_hosts_and_the_same_commands_end_as_one_process_does(
    hosts: tuple[Host, Host],
    alone: Path,
    tmp_path: Path,
    record_property: Callable[[str, Any], None],
    stage: str,
    victim: int,
) -> None:
    run = before(stage, alone, tmp_path / "run")
    agents = [started(host, hosts[0], stage, str(run)) for host in hosts]
    checkpoints = run / "rlaif" / f"{stage}.partial" / "checkpoints"
    while not (checkpoints / "step-000003").exists() and all(agent.poll() is None for agent in agents):
        time.sleep(0.01)
    for worker in children(agents[victim].pid):
        os.kill(worker, signal.SIGKILL)
    killed_s = time.monotonic()
    codes, said = ended(agents)
    record_property("seconds from the kill until both hosts had ended", round(time.monotonic() - killed_s, 1))
    assert 0 not in codes, said
    assert said.count("error: lost contact with another process of this training") == 1, said
    assert "Checkpoints are kept: run the same command again to continue." in said
    done = max(int(path.name[5:11]) for path in checkpoints.glob("step-??????"))
    kept = [row["seconds"] for row in curve(checkpoints.parent)][:done]
    codes, said = ended([started(host, hosts[0], stage, str(run)) for host in hosts])
    assert codes == [0, 0], said
    ours, theirs = run / "rlaif" / stage, alone / "rlaif" / stage
    assert 3 <= done < len(curve(ours)) == len(curve(theirs))
    assert [row["seconds"] for row in curve(ours)][:done] == kept
    for row, other in zip(curve(ours), curve(theirs), strict=True):
        for key in row.keys() - {"seconds", "tokens_per_s", "ratio_error"}:
            assert row[key] == pytest.approx(other[key], rel=1e-3, abs=1e-4), (row["step"], key)
    record_property("steps kept, of all", f"{done} of {len(curve(ours))}")
    record_property("distance of the weights from one process's, relative", gap(ours, theirs))
    assert gap(ours, theirs) < 1e-4


IMPATIENT = """
import datetime
from hrlaif.cli import main
from hrlaif.nn import processes

processes.PATIENCE = datetime.timedelta(seconds=30)
main()
"""


def test_a_cut_cable_ends_both_hosts_once_they_have_waited_long_enough(
    hosts: tuple[Host, Host], tiny_model: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    run_folder(run, tiny_model, epochs=500)
    (tmp_path / "impatient.py").write_text(IMPATIENT)
    program = [str(tmp_path / "impatient.py")]
    agents = [started(host, hosts[0], "reward", str(run), program=program) for host in hosts]
    checkpoints = run / "rlaif" / "reward.partial" / "checkpoints"
    while not (checkpoints / "step-000003").exists() and all(agent.poll() is None for agent in agents):
        time.sleep(0.01)
    _ip("-n", hosts[1].name, "link", "set", hosts[1].device, "down").check_returncode()
    try:
        codes, said = ended(agents)
    finally:
        _ip("-n", hosts[1].name, "link", "set", hosts[1].device, "up").check_returncode()
    assert 0 not in codes, said
    # Each says it on its own: there is nobody to agree with.
    assert said.count("error: lost contact with another process of this training") == 2, said
    assert any(checkpoints.glob("step-??????"))
