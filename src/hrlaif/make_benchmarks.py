"""The steps that ask public benchmarks: their items, and each contestant on them."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from hrlaif import artifacts, benchmarks
from hrlaif.judges.harm_quality import harm_cuts
from hrlaif.make import read
from hrlaif.plan import Step
from hrlaif.prompts import choices, sources
from hrlaif.run import LOCAL_BLOCK, Run
from hrlaif.types import BenchmarkItem

if TYPE_CHECKING:
    from hrlaif.models.local import LocalSampler


def make_benchmark_items(run: Run, step: Step) -> None:
    """Read the benchmarks' files: at the beginning, so that a bad row is noticed before anything is paid."""
    items = benchmarks.load(
        run.config.evaluation,
        read_table=sources.read,
        ask=choices.with_options,
        of_tasks=lambda section: run.harness.items(section),
    )
    benchmarks.check(items)
    by_benchmark = artifacts.count_by(item.benchmark for item in items)
    artifacts.write_records(step.path, items, fingerprint=step.fingerprint, by_benchmark=by_benchmark)


def make_benchmarks(run: Run, step: Step) -> None:
    """Ask one contestant every item, decoded as all others are."""
    section, sampler = run.config.evaluation, run.contestant(str(step.arm))
    benchmarks.measure(
        read(run, "benchmark_items.jsonl", BenchmarkItem),
        sampler=sampler,
        judge=lambda: run.evaluation_judge[0],
        on_tasks=lambda items: run.harness.answer(items, cast("LocalSampler", sampler), seed=run.config.seed),
        asking=benchmarks.Asking(section.temperature, section.top_p, run.config.seed, LOCAL_BLOCK),
        path=step.path,
        fingerprint=step.fingerprint,
        harm_cuts=harm_cuts(run.config),
    )
