"""One contestant on every benchmark item: asked, scored, and written down, one record per item."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import itertools
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hrlaif.artifacts import Journal, count_by
from hrlaif.benchmarks import sandbox
from hrlaif.benchmarks.choices import by_final_answer, by_likelihood
from hrlaif.benchmarks.code import by_tests
from hrlaif.benchmarks.ifeval import by_instructions
from hrlaif.benchmarks.safety import Scored, by_refusal, by_toxicity
from hrlaif.config import LM_EVAL
from hrlaif.errors import ModelError
from hrlaif.judges.harm import NO_CUTS
from hrlaif.judges.harm_cuts import HarmCuts
from hrlaif.models.base import ChatModel, Decoding, LikelihoodModel, Sampler, SampleRequest
from hrlaif.progress import Progress
from hrlaif.types import BenchmarkItem, BenchmarkResult, Cost, Response

_BY_RULE: dict[str, Callable[[BenchmarkItem, Response], tuple[dict[str, bool | None], dict[str, Any]]]] = {
    "humaneval": by_tests,
    "ifeval": by_instructions,
}
_BY_JUDGE = {"xstest": by_refusal, "toxigen": by_toxicity}


@dataclass(frozen=True, slots=True)
class Asking:
    """How every contestant is asked: temperature 0 is greedy; `block` rows are answered and written at a time."""

    temperature: float
    top_p: float
    seed: int
    block: int


def check(items: Sequence[BenchmarkItem]) -> None:
    """See that this machine can score the items, before anything is paid.

    Raises:
        ConfigError: There is code to run, and no sandbox to run it in.
    """
    if any(item.kind == "humaneval" for item in items):
        sandbox.check()


def measure(
    items: Sequence[BenchmarkItem],
    *,
    sampler: Sampler,
    judge: Callable[[], ChatModel],
    on_tasks: Callable[[Sequence[BenchmarkItem]], list[BenchmarkResult]],
    asking: Asking,
    path: Path,
    fingerprint: str,
    harm_cuts: HarmCuts = NO_CUTS,
) -> int:
    """Write one `BenchmarkResult` per item to `path` and return how many there are.

    A crashed attempt continues after its last whole block. The judge is opened only where a benchmark needs one;
    its scores on refusals are cut at `harm_cuts`. `on_tasks` has lm-eval ask the sampler items of one of its tasks.

    Raises:
        ModelError: Log-likelihoods are asked of a model that gives none.
        ConfigError: There is code to run, and no sandbox to run it in.
    """
    check(items)
    blocks = list(_blocks(items, asking.block))
    with Journal(path, fingerprint=fingerprint) as journal:
        done = sum(map(len, blocks[: journal.items]))
        with Progress(f"benchmarks {sampler.name}", len(items), done=done) as progress:
            for block in blocks[journal.items :]:
                if block[0].kind == LM_EVAL:
                    results = on_tasks(block)
                elif block[0].mode == "loglikelihood":
                    results = _compared(block, sampler)
                else:
                    responses = list(
                        sampler.sample([_request(item, asking.seed) for item in block], _decoding(block[0], asking))
                    )
                    results = asyncio.run(_scored(block, responses, judge, harm_cuts))
                journal.append(results)
                progress.advance(len(block))
        return journal.finish(model=sampler.name, benchmarks=count_by(item.benchmark for item in items))


def _blocks(items: Sequence[BenchmarkItem], size: int) -> Iterator[list[BenchmarkItem]]:
    """Items of one benchmark at a time: all of a block are asked alike."""
    for _, group in itertools.groupby(items, key=lambda item: item.benchmark):
        members = list(group)
        for start in range(0, len(members), size):
            yield members[start : start + size]


def _decoding(item: BenchmarkItem, asking: Asking) -> Decoding:
    return Decoding(asking.temperature, asking.top_p, item.max_tokens)


def _request(item: BenchmarkItem, seed: int) -> SampleRequest:
    response_id = f"{item.prompt.id}/0"
    digest = hashlib.sha256(f"{seed}/{response_id}".encode()).digest()
    return SampleRequest(item.prompt, response_id, int.from_bytes(digest[:4], "big") >> 1)


def _compared(items: Sequence[BenchmarkItem], sampler: Sampler) -> list[BenchmarkResult]:
    if not isinstance(sampler, LikelihoodModel):
        raise ModelError(
            f"{sampler.name} gives no log-likelihoods, which {items[0].benchmark} compares. Use a model on this "
            "machine, or mode = 'generative' for this benchmark."
        )
    found = sampler.logprobs([(item.prompt.messages, item.continuations) for item in items])
    return [by_likelihood(item, logprobs) for item, logprobs in zip(items, found, strict=True)]


async def _scored(
    items: Sequence[BenchmarkItem], responses: Sequence[Response], judge: Callable[[], ChatModel], cuts: HarmCuts
) -> list[BenchmarkResult]:
    async with contextlib.AsyncExitStack() as stack:
        asked = await stack.enter_async_context(judge()) if items[0].kind in _BY_JUDGE else None
        free = asyncio.Semaphore(os.cpu_count() or 1)

        async def score(item: BenchmarkItem, response: Response) -> BenchmarkResult:
            if asked is not None:
                scores, evidence, cost = await _BY_JUDGE[item.kind](item, response, asked, cuts)
            else:
                scores, evidence, cost = await _by_rule(item, response, free)
            return BenchmarkResult(
                item.benchmark,
                item.kind,
                item.mode,
                item.prompt.id,
                item.prompt.category,
                response,
                scores,
                evidence,
                cost,
            )

        return await asyncio.gather(*(score(*pair) for pair in zip(items, responses, strict=True)))


async def _by_rule(item: BenchmarkItem, response: Response, free: asyncio.Semaphore) -> Scored:
    # In a thread each: programs, and symbolic comparisons, take seconds.
    async with free:
        rule = _BY_RULE.get(item.kind, by_final_answer)
        return *(await asyncio.to_thread(rule, item, response)), Cost()
