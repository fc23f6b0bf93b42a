"""The labels stage as bench/scale.py measures it, in a process of its own: prints one line of JSON.

python bench/scale_driver.py local|ray URL --pairs N --folder DIR [--place postgresql://...] [--address HOST:PORT]

With `--stub` sampling and labelling ask nobody: what they cost themselves, and that memory stays flat.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hrlaif.config import EndpointSection, RaySection
from hrlaif.labels import Group, label
from hrlaif.models.base import Decoding, SampleRequest
from hrlaif.models.flow import spread, spreading
from hrlaif.models.http import HttpModel
from hrlaif.models.http_sampler import HttpSampler
from hrlaif.models.ledger import Ledger
from hrlaif.models.ray_engine import RayEngine
from hrlaif.models.shared_ledger import SharedLedger
from labeling_clients import MODEL, SECTION, StubJudge, groups, peak_mb

LEASE_S = 3.0


class StubPolicy(StubJudge):
    """A policy in this process that answers at once."""

    in_flight = 64


def resident_mb(process: int) -> float:
    """The memory (MB) of a process now, without what it shares with others."""
    pages = Path(f"/proc/{process}/statm").read_text().split()
    return (int(pages[1]) - int(pages[2])) * os.sysconf("SC_PAGE_SIZE") / 1e6


def family() -> list[int]:
    """The numbers of this process and of all that it started."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError):
            parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    found = [os.getpid()]
    for process in found:
        found += [child for child, parent in parents.items() if parent == process]
    return found


def memory() -> dict[int, float]:
    found = {}
    for process in family():
        with contextlib.suppress(OSError):
            found[process] = resident_mb(process)
    return found


class Watch:
    """The memory of all processes when a tenth, a quarter, a half and all of so many items have gone by."""

    def __init__(self, count: int) -> None:
        self._shares = {int(share * (count - 1)): share for share in (0.1, 0.25, 0.5, 1.0)}
        self._seen: dict[float, dict[int, float]] = {}

    def over(self, items: Iterator[Any]) -> Iterator[Any]:
        """The items."""
        for number, item in enumerate(items):
            if number in self._shares:
                self._seen[self._shares[number]] = memory()
            yield item

    def found(self) -> dict[str, Any]:
        """MB of all processes together at each share; which one grew most after the first tenth, and by how much."""
        early, late = self._seen[0.1], self._seen[1.0]
        grown = {process: late[process] - early[process] for process in late if process in early}
        most = max(grown, key=lambda process: grown[process])
        return {
            "mb": {str(share): sum(seen.values()) for share, seen in self._seen.items()},
            "grown_mb": grown[most],
            "grown": "the driver" if most == os.getpid() else Path(f"/proc/{most}/comm").read_text().strip(),
        }


def sampled(prompts: Iterator[Group], workers: int) -> int:
    """The sampler over all prompts, in the blocks in which a run hands them over; returns the responses."""
    sampler, count, block = HttpSampler(StubPolicy()), 0, 512 * workers
    requests: list[SampleRequest] = []
    for group in prompts:
        requests.append(SampleRequest(group.prompt, f"{group.prompt.id}/0", 1))
        if len(requests) == block:
            count += sum(1 for _ in sampler.sample(requests, Decoding()))
            requests.clear()
    return count + sum(1 for _ in sampler.sample(requests, Decoding()))


def labelled(options: argparse.Namespace, prompts: Iterator[Group], judge: Any) -> int:
    return label(
        prompts,
        arm="rlaif",
        judge=judge,
        section=SECTION,
        seed=0,
        path=options.folder / "labels.jsonl",
        fingerprint="bench",
        total=options.pairs,
        window=2 * options.in_flight,
    )


async def nothing(item: int) -> int:
    """Work that starts the workers."""
    return item


async def warm_up(workers: int) -> None:
    async for _ in spread(range(64 * workers), nothing, window=64):
        pass


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("engine", choices=("local", "ray"))
    parser.add_argument("url")
    parser.add_argument("--pairs", type=int, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--place", default="")
    parser.add_argument("--address", default="")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--in-flight", type=int, default=32)
    parser.add_argument("--stub", action="store_true")
    options = parser.parse_args()
    with contextlib.ExitStack() as stack:
        if options.engine == "ray":
            engine = stack.enter_context(RayEngine(RaySection(address=options.address, workers=options.workers)))
            stack.enter_context(spreading(engine))
            asyncio.run(warm_up(options.workers))
        place = options.place
        ledger = SharedLedger(place, lease_s=LEASE_S) if place else Ledger(options.folder / "calls.sqlite")
        stack.enter_context(ledger)
        section = EndpointSection(url=options.url, model=MODEL, in_flight=options.in_flight, timeout_s=60.0)
        sampling, labeling = Watch(options.pairs), Watch(options.pairs)
        start_s, start_cpu_s = time.perf_counter(), time.process_time()
        samples_s = 0.0
        if options.stub:
            sampled(sampling.over(groups(options.pairs)), options.workers)
            samples_s = time.perf_counter() - start_s
        judge = StubJudge() if options.stub else HttpModel(section, ledger=ledger)
        rows = labelled(options, labeling.over(groups(options.pairs)), judge)
        wall_s, cpu_s = time.perf_counter() - start_s, time.process_time() - start_cpu_s
        found = {"rows": rows, "wall_s": wall_s, "samples_s": samples_s, "cpu_s": cpu_s, "peak_mb": peak_mb()}
        memories = {"samples": sampling.found(), "labels": labeling.found()} if options.stub else {}
        print(json.dumps({**found, "memory": memories}), flush=True)


if __name__ == "__main__":
    main()
