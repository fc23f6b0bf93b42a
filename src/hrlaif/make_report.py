"""The step that writes the report, and what it tells that no other file holds: costs, and the judge's own labels."""

from __future__ import annotations

import dataclasses
from typing import Any

from hrlaif import artifacts, labels
from hrlaif.make import labelled
from hrlaif.make_human import judge_on_people
from hrlaif.plan import Step
from hrlaif.run import Run
from hrlaif.types import Cost, Label, Verification


def make_report(run: Run, step: Step) -> None:
    """Write the page, with what the judge is worth on this run's own pairs, and what everything cost.

    With harmful texts shown it stays unfinished: whoever makes the report next hides them again.
    """
    from hrlaif import report

    artifacts.write_json(run.folder / "costs.json", costs(run, step))
    facts = {"on_verified": judge_on_verified(run, step), "on_people": judge_on_people(run, step)}
    report.write(run.folder, run.config, facts=facts, show_harmful=run.show_harmful)
    if not run.show_harmful:
        artifacts.write_manifest(step.path, fingerprint=step.fingerprint)


def judge_on_verified(run: Run, step: Step) -> dict[str, Any] | None:
    """How often the judge's own labels chose the correct response where the verifier knows it; None without such."""
    if run.folder / "rlaif" / "labels.jsonl" not in step.inputs:
        return None
    found = labels.label_accuracy(
        (label, group.verifications) for group, made in labelled(run, "rlaif") for label in made
    )
    return {"agreement": found.value, "low": found.low, "high": found.high, "pairs": found.n} if found.n else None


def costs(run: Run, step: Step) -> dict[str, Any]:
    """What was paid, by purpose as the ledger has it, and per label of each arm as its evidence has it."""
    by_arm = {}
    for arm in run.config.arms:
        if run.folder / arm / "labels.jsonl" not in step.inputs:
            continue
        made, paid = 0, Cost()
        for label in artifacts.read_records(run.folder / arm / "labels.jsonl", Label):
            made += 1
            paid = sum((judgement.cost for judgement in label.evidence.judgements), paid)
        if arm == "hrlaif":
            # Hybrid labels rest on the answer checks too; each counts once, however many labels it serves.
            verified = artifacts.read_records(run.folder / "verifications.jsonl", Verification)
            paid = sum((found.cost for found in verified), paid)
        n = max(1, made)
        tokens = paid.prompt_tokens + paid.completion_tokens
        by_arm[arm] = {
            "labels": made,
            "calls": paid.calls,
            "tokens": tokens,
            "usd": paid.usd,
            "calls_per_label": paid.calls / n,
            "tokens_per_label": tokens / n,
            "usd_per_label": paid.usd / n,
        }
    by_purpose = {purpose: dataclasses.asdict(paid) for purpose, paid in run.ledger.by_purpose().items()}
    return {"by_purpose": by_purpose, "labels": by_arm}
