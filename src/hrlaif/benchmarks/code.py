"""HumanEval: the function that a response wrote, put to the published tests in the sandbox."""

from __future__ import annotations

import re
import textwrap
from typing import Any

from hrlaif.benchmarks import sandbox
from hrlaif.types import BenchmarkItem, Response

PASS_AT_1 = "pass_at_1"
_BLOCK = re.compile(r"```[ \t]*(\w*)[^\n]*\n(.*?)(?:```|\Z)", re.DOTALL)


def program_of(item: BenchmarkItem, text: str) -> str:
    """The prompt (with its imports and helpers), the response's code, and the tests.

    A response may hold the whole function, in a code block or not, or only continue the prompt. Its own lines under
    `if __name__ == "__main__"` do not run, as they do not in the authors' harness.
    """
    prompt, test, name = (item.facts[key] for key in ("prompt", "test", "entry_point"))
    code = _code(text, name)
    if re.search(rf"^\s*def\s+{name}\s*\(", code, re.MULTILINE):
        # The prompt alone is a function with a docstring for a body: valid, and replaced by what follows.
        answer = f"{prompt}\n\n{textwrap.dedent(code)}"
    else:
        body = code if re.match(r"\s*\n|[ \t]", code) or not code.strip() else textwrap.indent(code, "    ")
        answer = f"{prompt.rstrip()}\n{body}"
    return f"__name__ = 'answer'\n{answer}\n\n{test}\n\ncheck({name})\n"


def by_tests(item: BenchmarkItem, response: Response) -> tuple[dict[str, bool | None], dict[str, Any]]:
    """Whether the code passes the tests, all of them and in time."""
    ran = sandbox.run(program_of(item, response.text))
    evidence = {"ending": ran.ending.value, "last_line": ran.detail[:200]}
    return {PASS_AT_1: ran.ending is sandbox.Ending.PASSED}, evidence


def _code(text: str, name: str) -> str:
    """The first code block that defines the function, else the first in Python or without a name, else the text."""
    blocks = [code for language, code in _BLOCK.findall(text) if language.lower() in ("", "py", "python", "python3")]
    defining = [code for code in blocks if re.search(rf"\bdef\s+{name}\b", code)]
    return str((defining or blocks or [text])[0])
