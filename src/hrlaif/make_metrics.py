"""The step that sums up: everything that was measured, in one metrics.json."""

from __future__ import annotations

from typing import Any

from hrlaif import artifacts
from hrlaif.judges.harm_quality import harm_quality
from hrlaif.make import read
from hrlaif.plan import Step
from hrlaif.run import Run
from hrlaif.types import BenchmarkResult, Evaluation, Label, SatisfactionVerdict


def make_metrics(run: Run, step: Step) -> None:
    """Sum the evaluation up, with people's votes and public benchmarks where there are any."""
    from hrlaif import benchmarks, evaluation

    people, ratings = None, run.folder / "ratings"
    if ratings in step.inputs:
        people = evaluation.People(
            read(run, "ratings/labels.jsonl", Label),
            read(run, "ratings/satisfaction.jsonl", SatisfactionVerdict),
            artifacts.read_json(ratings / "about.json"),
        )
    rows = artifacts.read_records(run.folder / "evaluation.jsonl", Evaluation)
    quality = harm_quality(run.config)
    training: dict[str, list[dict[str, Any]]] = {
        arm: evaluation.kept_steps(run.folder / arm / "policy") for arm in run.config.arms
    }
    summary = evaluation.summarise(rows, seed=run.config.seed, people=people, harm_quality=quality, training=training)
    if results := [path for path in step.inputs if path.name == "benchmarks.jsonl"]:
        by_contestant = {path.parent.name: artifacts.read_records(path, BenchmarkResult) for path in results}
        summary["benchmarks"] = benchmarks.summarise(by_contestant)
    artifacts.write_json(step.path, summary)
    artifacts.write_manifest(step.path, fingerprint=step.fingerprint)
