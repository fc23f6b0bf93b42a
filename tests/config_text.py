"""Configurations written as text, and the message that a wrong one gets."""

from pathlib import Path

import pytest

from hrlaif import config as configuration
from hrlaif.errors import ConfigError


def write(folder: Path, text: str, name: str = "small.toml") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(text)
    return path


def message(folder: Path, text: str, *overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        configuration.load(write(folder, text), overrides)
    return str(caught.value)
