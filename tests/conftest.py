"""Fixtures that several test folders share."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest


def _beside(name: str) -> ModuleType:
    # Import mode "importlib" leaves the tests' folder off the path.
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a random tiny causal language model with a chat template."""
    pytest.importorskip("torch", reason="needs the train extra: pip install 'hrlaif[train]'")
    folder: Path = _beside("tiny_model").write_tiny_model(tmp_path_factory.mktemp("tiny") / "model")
    return folder
