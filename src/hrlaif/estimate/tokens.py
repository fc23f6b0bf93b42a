"""How tokens are counted: by a real tokenizer where one is at hand, else by what a character costs on average."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from hrlaif.config import Config
from hrlaif.errors import ConfigError
from hrlaif.models.wire import estimated_tokens
from hrlaif.run import needs_extra


class TokenCounter(NamedTuple):
    """Counts the tokens of a text; `name` says how."""

    name: str
    count: Callable[[str], int]


def counter(config: Config, folder: Path | None) -> TokenCounter:
    """The tokenizer in `folder`, that of the bundled model where it judges and is at hand, or the approximation.

    Raises:
        ConfigError: The folder holds no tokenizer.json, or the extra `train` is not installed.
    """
    if folder is not None:
        return _real(folder)
    if not config.judge.url:
        try:
            from hrlaif.models.bundled import weights_folder

            return _real(weights_folder())
        except (ModuleNotFoundError, ConfigError):
            pass
    return TokenCounter("approximate", lambda text: estimated_tokens(text.encode("utf-8", "replace")))


def _real(folder: Path) -> TokenCounter:
    path = folder / "tokenizer.json"
    if not path.exists():
        raise ConfigError(f"--tokenizer: {path} is not there. Name a folder with a model's tokenizer.json.")
    with needs_extra("train"):
        from tokenizers import Tokenizer
    try:
        tokenizer: Any = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises plain Exception
        raise ConfigError(f"--tokenizer: {path} cannot be read ({error}).") from error
    return TokenCounter(str(folder), lambda text: len(tokenizer.encode(text, add_special_tokens=False).ids))
