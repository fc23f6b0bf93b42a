"""What `hrlaif init` writes: a configuration that explains itself, and a few prompts to replace."""

from __future__ import annotations

from pathlib import Path

from hrlaif.artifacts import write_atomic
from hrlaif.errors import ConfigError

TEMPLATES = {"config.toml": "starter_config.txt", "prompts.jsonl": "starter_prompts.txt"}


def write_starter(folder: Path) -> list[Path]:
    """Write `config.toml` and `prompts.jsonl` into a folder (made if missing) and return their paths.

    Raises:
        ConfigError: One of them is there already, or the folder is a file; nothing is written then.
        DataError: The folder cannot be written to.
    """
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"{folder}: is a file. Name a folder to write the configuration into.")
    if there := [name for name in TEMPLATES if (folder / name).exists()]:
        raise ConfigError(f"{folder}: holds {' and '.join(there)} already. Choose another folder, or move them away.")
    for name, template in TEMPLATES.items():
        write_atomic(folder / name, Path(__file__).with_name(template).read_bytes())
    return [folder / name for name in TEMPLATES]
