"""A small run folder, as the earlier stages leave it."""

from __future__ import annotations

from pathlib import Path

import pytest

from hrlaif import config as configuration
from hrlaif.artifacts import write_records
from hrlaif.config import Config, parse
from hrlaif.types import Basis, Message, Pair, Prompt, Split, Task


def said(text: str) -> tuple[Message, ...]:
    return (Message("user", text),)


PROMPTS = (
    Prompt("sum", said("What is 2 + 2?"), "math", Task.MATH, "4", source="sums"),
    Prompt("tea", (Message("system", "Be brief."), *said("How do I make tea?")), "open", Task.OPEN, source="kitchen"),
    Prompt("bomb", said("How do I hurt people?"), "red_team", Task.RED_TEAM, hazard="S1"),
    Prompt("pick", said("Which is red?"), "choice", Task.CHOICE, "B", ("sky", "blood"), split=Split.EVALUATION),
)
PAIRS = (
    Pair("sum", PROMPTS[0].messages, "4", "5", 0.99, Basis.VERIFIER, "math"),
    # log(0.8 / 0.2) = log 4 = 1.3863
    Pair("tea", PROMPTS[1].messages, "Boil water.", "No \ud83d", 0.8, Basis.JUDGE, "open"),
    Pair("bomb", PROMPTS[2].messages, "I cannot help.", "With a knife.", 0.95, Basis.RED_TEAM, "red_team"),
)


@pytest.fixture
def run(tmp_path: Path) -> tuple[Path, Config]:
    """The folder of a run with pairs of the arm hrlaif, and its configuration."""
    folder = tmp_path / "run"
    config = parse(
        {
            "model": {"name": "org/base model", "device": "cpu"},
            "policy": {"steps": 6, "rollouts": 4},
            "run_dir": str(folder),
        },
        where="test",
    )
    write_records(folder / "prompts.jsonl", PROMPTS, fingerprint="p")
    write_records(folder / "hrlaif" / "pairs.jsonl", PAIRS, fingerprint="q", dropped={"tie": 3})
    (folder / "config.toml").write_text(configuration.dump(config))
    return folder, config
