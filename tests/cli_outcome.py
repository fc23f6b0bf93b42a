"""What a command of hrlaif prints and how it ends, and a small configuration to run it on."""

import json
import re
import sys
from pathlib import Path

from typer.testing import CliRunner

from hrlaif.cli import app

COMMAND = [sys.executable, "-m", "hrlaif.cli"]
PROMPT = '{"id": "a", "prompt": "What is 2 + 2?", "task": "math", "reference": "4"}'
PROMPTS = "\n".join(json.dumps({"id": f"q{k}", "prompt": f"Question {k}?"}) for k in range(20))


class Outcome:
    """What one command printed, and its exit code; an error that is not ours fails the test at once."""

    def __init__(self, *args: object) -> None:
        result = CliRunner().invoke(app, [str(arg) for arg in args])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        self.code, self.out, self.err = result.exit_code, result.stdout, result.stderr

    @property
    def message(self) -> str:
        """The one error block, without the progress before it."""
        assert self.out == ""
        assert "Traceback" not in self.err
        blocks = re.split(r"^error: ", self.err, flags=re.MULTILINE)
        assert len(blocks) == 2, self.err
        return blocks[1].strip()


def write(folder: Path, prompts: str | None = PROMPTS, config: str = "") -> Path:
    """A configuration with one file of prompts beside it."""
    if prompts is not None:
        (folder / "p.jsonl").write_text(prompts)
    path = folder / "small.toml"
    path.write_text(config + '\n[[prompts.sources]]\npath = "p.jsonl"\n')
    return path


def pair_file(folder: Path, count: int = 12) -> Path:
    path = folder / "pairs.jsonl"
    rows = [
        {"id": f"q{k}", "prompt": f"Question {k}", "response_a": "kiwi", "response_b": "plum", "label": "AB"[k % 2]}
        for k in range(count)
    ]
    path.write_text("\n".join(map(json.dumps, rows)))
    return path
