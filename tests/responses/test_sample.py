from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from hrlaif.artifacts import read_manifest, read_records
from hrlaif.models.base import Decoding, SampleRequest
from hrlaif.responses import sample
from hrlaif.types import Finish, Message, Prompt, Response, Task

PROMPTS = [Prompt(f"p{k}", (Message("user", f"Question {k}"),), "c", Task.OPEN) for k in range(4)]
DECODING = Decoding(temperature=0.7, top_p=0.9, max_tokens=11)


class BreakingError(Exception):
    pass


class ScriptedPolicy:
    """Answers with prompt and seed; breaks before the given response."""

    name = "policy"

    def __init__(self, breaks_at: str = "") -> None:
        self.breaks_at = breaks_at
        self.blocks: list[list[str]] = []

    def sample(self, requests: Sequence[SampleRequest], decoding: Decoding) -> Iterator[Response]:
        assert decoding == DECODING
        self.blocks.append([request.response_id for request in requests])
        for request in requests:
            if request.response_id == self.breaks_at:
                raise BreakingError
            text = f"{request.prompt.question} {request.seed}"
            yield Response(request.response_id, request.prompt.id, text, self.name, request.seed, Finish.STOP)


def drawn(
    path: Path, policy: ScriptedPolicy, *, block: int = 3, seed: int = 0, prompts: Sequence[Prompt] = PROMPTS
) -> list[Response]:
    n = sample(prompts, policy, DECODING, per_prompt=2, seed=seed, block=block, path=path, fingerprint="f")
    found = list(read_records(path, Response))
    assert len(found) == n
    return found


def test_each_prompt_gets_its_responses_in_order_each_with_an_id_and_a_seed_of_its_own(tmp_path: Path) -> None:
    found = drawn(tmp_path / "r.jsonl", ScriptedPolicy())
    assert [one.id for one in found] == ["p0/0", "p0/1", "p1/0", "p1/1", "p2/0", "p2/1", "p3/0", "p3/1"]
    assert [one.prompt_id for one in found] == ["p0", "p0", "p1", "p1", "p2", "p2", "p3", "p3"]
    assert len({one.seed for one in found}) == 8
    # Endpoints read a seed as a signed 32-bit number.
    assert all(0 <= one.seed < 2**31 for one in found)
    assert read_manifest(tmp_path / "r.jsonl") == {
        "schema": 1,
        "fingerprint": "f",
        "rows": 8,
        "model": "policy",
        "seed": 0,
    }


def test_a_seed_depends_on_the_run_and_the_response_and_not_on_the_other_prompts(tmp_path: Path) -> None:
    whole = {one.id: one.seed for one in drawn(tmp_path / "a.jsonl", ScriptedPolicy())}
    fewer = {one.id: one.seed for one in drawn(tmp_path / "b.jsonl", ScriptedPolicy(), prompts=PROMPTS[2:])}
    other = {one.id: one.seed for one in drawn(tmp_path / "c.jsonl", ScriptedPolicy(), seed=1)}
    assert fewer == {name: seed for name, seed in whole.items() if name in fewer}
    assert not set(whole.values()) & set(other.values())


def test_requests_are_handed_over_in_blocks(tmp_path: Path) -> None:
    policy = ScriptedPolicy()
    drawn(tmp_path / "r.jsonl", policy)
    assert policy.blocks == [["p0/0", "p0/1", "p1/0"], ["p1/1", "p2/0", "p2/1"], ["p3/0", "p3/1"]]


@pytest.mark.parametrize("block", [3, 2])
def test_a_crash_costs_its_block_and_the_rest_is_as_without_it(tmp_path: Path, block: int) -> None:
    whole = drawn(tmp_path / "whole.jsonl", ScriptedPolicy())
    path = tmp_path / "r.jsonl"
    with pytest.raises(BreakingError):
        drawn(path, ScriptedPolicy(breaks_at="p2/0"))
    second = ScriptedPolicy()
    # The first block of three is done, whatever the size of the blocks that follow.
    assert drawn(path, second, block=block) == whole
    assert second.blocks[0][0] == "p1/1"
    assert sum(map(len, second.blocks)) == 5


def test_no_prompts_are_an_empty_file(tmp_path: Path) -> None:
    assert drawn(tmp_path / "r.jsonl", ScriptedPolicy(), prompts=[]) == []
