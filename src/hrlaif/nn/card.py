"""Model cards: a template with the numbers of the training that made the model."""

from __future__ import annotations

import string
from collections.abc import Mapping
from importlib import resources
from pathlib import Path

from hrlaif.artifacts import write_atomic


def write_card(folder: Path, *, package: str, template: str, values: Mapping[str, object]) -> None:
    """Write `README.md` into a model folder from `template`, a .txt file of `package` with `$name` marks."""
    text = resources.files(package).joinpath(template).read_text("utf-8")
    filled = string.Template(text).substitute({key: _shown(value) for key, value in values.items()})
    write_atomic(folder / "README.md", filled.encode())


def _shown(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
