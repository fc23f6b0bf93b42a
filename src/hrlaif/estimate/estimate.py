"""Calls, tokens, price and time of a run by stage: what is left to pay, expected and between which bounds."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from hrlaif import prompts as loading
from hrlaif.artifacts import read_records
from hrlaif.config import Config
from hrlaif.estimate.assumptions import HIGH, LOW, Assumptions
from hrlaif.estimate.counting import Tally
from hrlaif.estimate.rehearsal import BENCHMARKS, CALIBRATION, ON_PROMPTS, Known, Parts, rehearse
from hrlaif.estimate.summary import summarise
from hrlaif.estimate.tokens import counter
from hrlaif.models.base import Calls
from hrlaif.models.ledger import Ledger
from hrlaif.pipeline import STAGES
from hrlaif.plan import finished, plan
from hrlaif.progress import track
from hrlaif.run import CALLS, shared_ledger
from hrlaif.types import Prompt, Split, Task

# With more prompts than this, some of each kind stand for the others.
MOST_PROMPTS = 1000
MOST_OF_A_KIND = 100
_ATTACKING = (Task.RED_TEAM, Task.BENIGN_TRICKY)
Sample = tuple[Sequence[Prompt], float]


def estimate(
    config: Config, *, assumed: Assumptions, latency_s: float | None = None, tokenizer: Path | None = None
) -> dict[str, Any]:
    """What a run of this configuration has still to pay, as plain values (see `summary.summarise`).

    No model is asked and nothing is written into the run folder. `latency_s` None takes the seconds per call that the
    ledger recorded, or a default.

    Raises:
        ConfigError, DataError: What `hrlaif run` would stop at before its first call.
    """
    folder = Path(config.run_dir)
    steps = plan(STAGES, config)
    made = {step.path for step in finished(config, steps)}
    if folder / "prompts.jsonl" in made:
        prompts = list(read_records(folder / "prompts.jsonl", Prompt))
    else:
        prompts = loading.load(config.prompts, seed=config.seed)
    tokens = counter(config, tokenizer)
    samples = _samples(prompts)
    with _paid(config) as ledger:
        train = sum(prompt.split is Split.TRAIN for prompt in prompts)
        known = Known(folder, made, ledger, train, tokens.count)
        calibration = Tally()
        rehearse(config, [], assumed, stages=CALIBRATION, known=known, tally=calibration)
        tallies = [_tally(config, samples, scenario, known) for scenario in (assumed, *LOW, *HIGH)]
        for tally in tallies:
            tally.counts.update(calibration.counts)
        return {
            **summarise(
                [
                    step
                    for step in steps
                    if step.stage.name in (*CALIBRATION, *ON_PROMPTS, *BENCHMARKS)
                    and step.stage.name not in ("answers", "benchmark_items")
                ],
                tallies,
                made=made,
                parts=Parts.of(config),
                ledger=ledger,
                latency_s=latency_s,
                budget_usd=config.judge.budget_usd,
            ),
            "prompts": len(prompts),
            "sampled_prompts": sum(len(part) for part, _ in samples),
            "tokenizer": tokens.name,
            "assumptions": assumed.model_dump(),
        }


def _tally(config: Config, samples: Sequence[Sample], assumed: Assumptions, known: Known) -> Tally:
    """What is asked where policy and judge behave as assumed."""
    tally = Tally()
    parts = samples if len(samples) == 1 else track(samples, "estimating", len(samples))
    for prompts, weight in parts:
        tally.seen.clear()
        tally.weight = weight
        rehearse(config, prompts, assumed, stages=ON_PROMPTS, known=known, tally=tally)
    tally.seen.clear()
    tally.weight = 1.0
    rehearse(config, [], assumed, stages=BENCHMARKS, known=known, tally=tally)
    return tally


def _samples(prompts: Sequence[Prompt]) -> list[Sample]:
    """All prompts, or some of each kind with how many each of them stands for.

    Kinds differ in how many calls a prompt costs. Attacks and harmless requests stay together: how many of these are
    asked depends on those.
    """
    if len(prompts) <= MOST_PROMPTS:
        return [(prompts, 1.0)]
    kinds: dict[object, list[Prompt]] = defaultdict(list)
    for prompt in prompts:
        is_attack = prompt.task in _ATTACKING and prompt.split is Split.TRAIN
        kinds["attack" if is_attack else (prompt.split, prompt.task, prompt.reference is None)].append(prompt)
    samples: list[Sample] = []
    for kind in kinds.values():
        some = kind[:: -(-len(kind) // MOST_OF_A_KIND)]
        samples.append((some, len(kind) / len(some)))
    return samples


@contextlib.contextmanager
def _paid(config: Config) -> Iterator[Calls | None]:
    path = Path(config.run_dir) / CALLS
    if config.ledger:
        with shared_ledger(config.ledger) as shared:
            yield shared
    elif path.exists():
        with Ledger(path, read_only=True) as ledger:
            yield ledger
    else:
        yield None
