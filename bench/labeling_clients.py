"""The clients that bench/labeling.py compares, each run in a process of its own: prints one line of JSON.

python bench/labeling_clients.py CLIENT URL --pairs N --folder DIR     CLIENT: bare, engine, stub
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import aiohttp

from hrlaif.config import EndpointSection, LabelsSection
from hrlaif.judges.ask import LETTER_TOKENS, TOP_LOGPROBS
from hrlaif.judges.compare import question
from hrlaif.judges.panel import Judge
from hrlaif.labels import Group, label
from hrlaif.models import wire
from hrlaif.models.base import ChatReply, ChatRequest
from hrlaif.models.http import HttpModel
from hrlaif.models.ledger import Ledger
from hrlaif.types import Cost, Finish, Message, Prompt, Response, Task

MODEL = "mock-judge"
TIMEOUT_S = 10.0
SECTION = LabelsSection(pairs_per_prompt=1)
_WORDS = ("the", "answer", "follows", "from", "what", "was", "asked", "and", "what", "is", "known", "so", "far")
# Made once: what is measured is the stage, not the making of its inputs.
TEXTS = tuple(
    tuple(" ".join(_WORDS[(start + shift) % len(_WORDS)] for shift in range(50 + extra)) for extra in (0, 7))
    for start in range(len(_WORDS))
)
STUB_LOGPROBS = ({"A": -0.3, "B": -1.4},)


def groups(count: int) -> Iterator[Group]:
    """Prompts with two responses each, made on the fly; a judge prompt of about 300 tokens."""
    for number in range(count):
        prompt = Prompt(f"p{number}", (Message("user", f"Question {number}: what follows?"),), "open", Task.OPEN)
        responses = tuple(
            Response(f"{prompt.id}/{name}", prompt.id, f"{name}. {text}", "policy", 0, Finish.STOP)
            for name, text in zip("ab", TEXTS[number % len(TEXTS)], strict=True)
        )
        yield Group(prompt, responses, {})


def questions(count: int) -> Iterator[str]:
    """The judge prompts of those groups, both orders."""
    for group in groups(count):
        one, two = group.responses
        for first, second in ((one, two), (two, one)):
            yield question(Judge(StubJudge()), group.prompt, (first, second))


async def bare(url: str, prompts: Iterable[str], *, in_flight: int) -> int:
    """The least that can be done with aiohttp: the same bodies, the replies parsed, nothing kept."""
    waiting = iter(prompts)
    answered = 0

    async def worker(session: aiohttp.ClientSession) -> None:
        nonlocal answered
        for prompt in waiting:
            request = ChatRequest((Message("user", prompt),), max_tokens=LETTER_TOKENS, top_logprobs=TOP_LOGPROBS)
            body = json.dumps({"model": MODEL, **wire.fields(request)}).encode()
            async with session.post(f"{url}/chat/completions", data=body) as response:
                reply = json.loads(await response.read())
                answered += reply["choices"][0]["message"]["content"] == "A"

    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, headers={"Content-Type": "application/json"}) as session:
        await asyncio.gather(*(worker(session) for _ in range(in_flight)))
    return answered


def engine(url: str, pairs: int, folder: Path, *, in_flight: int) -> int:
    """The labels stage: both orders of each pair, through the ledger, into the label file."""
    section = EndpointSection(url=url, model=MODEL, in_flight=in_flight, timeout_s=TIMEOUT_S)
    with Ledger(folder / "calls.sqlite") as ledger:
        judge = HttpModel(section, ledger=ledger)
        return label(
            groups(pairs),
            arm="rlaif",
            judge=judge,
            section=SECTION,
            seed=0,
            path=folder / "labels.jsonl",
            fingerprint="bench",
            total=pairs,
            window=2 * in_flight,
        )


class StubJudge:
    """A judge in this process that answers at once."""

    name = "stub"

    def __init__(self) -> None:
        self.calls = 0

    async def __aenter__(self) -> StubJudge:
        return self

    async def __aexit__(self, *error: object) -> None:
        return None

    async def chat(self, request: ChatRequest) -> ChatReply:
        """Prefer A."""
        self.calls += 1
        return ChatReply("A", Finish.STOP, self.name, STUB_LOGPROBS, Cost(1, 300, 1))


def stub(pairs: int, folder: Path) -> tuple[int, float]:
    """The labels stage without a network; returns the labels and the memory (MB) after a tenth of them."""
    judge = StubJudge()
    early_mb = 0.0

    def watched() -> Iterator[Group]:
        nonlocal early_mb
        for number, group in enumerate(groups(pairs)):
            if number == pairs // 10:
                early_mb = peak_mb()
            yield group

    path = folder / "labels.jsonl"
    rows = label(
        watched(), arm="rlaif", judge=judge, section=SECTION, seed=0, path=path, fingerprint="bench", total=pairs
    )
    assert judge.calls == 2 * pairs
    return rows, early_mb


def peak_mb() -> float:
    """The most memory this process has used so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20 if sys.platform == "darwin" else 1 << 10)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("client", choices=("bare", "engine", "stub"))
    parser.add_argument("url")
    parser.add_argument("--pairs", type=int, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--in-flight", type=int, default=256)
    options = parser.parse_args()
    early_mb = 0.0
    start_s, start_cpu_s = time.perf_counter(), time.process_time()
    if options.client == "bare":
        done = asyncio.run(bare(options.url, questions(options.pairs), in_flight=options.in_flight))
    elif options.client == "engine":
        done = engine(options.url, options.pairs, options.folder, in_flight=options.in_flight)
    else:
        done, early_mb = stub(options.pairs, options.folder)
    wall_s, cpu_s = time.perf_counter() - start_s, time.process_time() - start_cpu_s
    print(json.dumps({"done": done, "wall_s": wall_s, "cpu_s": cpu_s, "rss_mb": peak_mb(), "early_mb": early_mb}))


if __name__ == "__main__":
    main()
