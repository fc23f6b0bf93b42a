"""Fixtures that several test folders share."""

from __future__ import annotations

import functools
import importlib.util
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest


def _of_bench(name: str) -> ModuleType:
    # Benchmarks have common names, so their folder is off the path.
    spec = importlib.util.spec_from_file_location(name, Path(__file__).parents[1] / "bench" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a random tiny causal language model with a chat template."""
    pytest.importorskip("torch", reason="needs the train extra: pip install 'hrlaif[train]'")
    from tiny_model import write_tiny_model

    return write_tiny_model(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture(scope="session")
def vllm_like() -> type:
    """The class of a server that follows vLLM's protocol: `VllmLike(base, *quirks, failures=0)`."""
    pytest.importorskip("torch", reason="needs the train extra: pip install 'hrlaif[train]'")
    from vllm_server import VllmLike

    return VllmLike


@pytest.fixture(scope="session")
def postgres() -> Iterator[Any]:
    """A running `PostgresServer`."""
    pytest.importorskip("psycopg", reason="needs the scale extra: pip install 'hrlaif[scale]'")
    module = _of_bench("postgres_server")
    binaries = module.binaries()
    if binaries is None:
        pytest.skip("needs a PostgreSQL server's programs (Debian: postgresql)")
    with module.PostgresServer(binaries) as server:
        yield server


@pytest.fixture(params=["sqlite", "postgres"])
def open_ledger(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Any]:
    """Opens one and the same ledger at each call: a file of one machine, and a database of many."""
    if request.param == "sqlite":
        from hrlaif.models.ledger import Ledger

        return functools.partial(Ledger, tmp_path / "calls.sqlite")
    url = request.getfixturevalue("postgres").database()
    from hrlaif.models.shared_ledger import SharedLedger

    return functools.partial(SharedLedger, url, lease_s=1.0)


def _mounted(folder: Path, *options: str) -> Path:
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", ",".join(options), "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip("a small file system can only be mounted as root")
    return folder


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder on a file system of 64 KiB."""
    folder = _mounted(tmp_path / "small", "size=64k")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.fixture
def read_only_folder(tmp_path: Path) -> Iterator[Path]:
    """A folder that cannot be written, not even by root."""
    if os.geteuid() != 0:
        folder = tmp_path / "locked"
        folder.mkdir(mode=0o555)
        yield folder
        return
    folder = _mounted(tmp_path / "locked", "size=64k", "ro")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)
