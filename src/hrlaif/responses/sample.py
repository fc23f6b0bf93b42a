"""Prompts in, sampled responses out, resumable at every block."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from hrlaif.artifacts import Journal
from hrlaif.models.base import Decoding, Sampler, SampleRequest
from hrlaif.progress import Progress
from hrlaif.types import Prompt, Response


def sample(
    prompts: Sequence[Prompt],
    sampler: Sampler,
    decoding: Decoding,
    *,
    per_prompt: int = 1,
    seed: int,
    block: int,
    path: Path,
    fingerprint: str,
) -> int:
    """Draw `per_prompt` responses for each prompt into `path` and return how many there are.

    `block` requests are handed over at a time, and a crashed attempt continues after the last whole block: a local
    model batches within a block only, so its responses are the same as without the crash. Response k of prompt p has
    the id `p/k` and its own seed.
    """
    requests = [request for prompt in prompts for request in _requests(prompt, per_prompt, seed)]
    with Journal(path, fingerprint=fingerprint) as journal:
        done = sum(len(part) for part in journal.done(Response))
        with Progress(f"sampling {sampler.name}", len(requests), done=done) as progress:
            for start in range(done, len(requests), block):
                part = requests[start : start + block]
                journal.append(list(_tracked(sampler.sample(part, decoding), progress)))
        return journal.finish(model=sampler.name, seed=seed)


def _tracked(responses: Iterator[Response], progress: Progress) -> Iterator[Response]:
    for response in responses:
        yield response
        progress.advance()


def _requests(prompt: Prompt, per_prompt: int, seed: int) -> Iterator[SampleRequest]:
    for k in range(per_prompt):
        response_id = f"{prompt.id}/{k}"
        digest = hashlib.sha256(f"{seed}/{response_id}".encode()).digest()
        yield SampleRequest(prompt, response_id, int.from_bytes(digest[:4], "big") >> 1)
