"""A response becomes a program that the published tests judge."""

from __future__ import annotations

import pytest

from hrlaif.benchmarks import sandbox
from hrlaif.benchmarks.code import program_of
from hrlaif.errors import ConfigError
from hrlaif.types import BenchmarkItem, Message, Prompt, Task

ITEM = BenchmarkItem(
    "h",
    "humaneval",
    "generative",
    Prompt("h/1", (Message("user", "Write it."),), "humaneval", Task.OPEN),
    0,
    facts={
        "prompt": 'import math\n\ndef up(x):\n    """Round up."""\n',
        "test": "def check(candidate):\n    assert candidate(1.5) == 2\n",
        "entry_point": "up",
    },
)
MAIN = "def up(x):\n    return math.ceil(x)\n\nif __name__ == '__main__':\n    import unittest\n    unittest.main()\n"


@pytest.mark.parametrize(
    "text", [f"Here it is:\n```python\n{MAIN}```\nIt rounds.", MAIN, "    return math.ceil(x)", "return math.ceil(x)"]
)
def test_code_that_is_right_passes_however_it_is_written(text: str) -> None:
    found: dict[str, object] = {}
    with pytest.raises(NameError, match=r"^end$"):
        exec(program_of(ITEM, text) + "\nraise NameError('end')", found)
    assert "unittest" not in found


def test_code_that_is_wrong_does_not() -> None:
    with pytest.raises(AssertionError):
        exec(program_of(ITEM, "    return math.floor(x)"), {})


def test_the_part_for_running_it_alone_does_not_run_in_the_sandbox() -> None:
    try:
        sandbox.check()
    except ConfigError as error:
        pytest.skip(str(error))
    assert sandbox.run(program_of(ITEM, MAIN)).ending is sandbox.Ending.PASSED
