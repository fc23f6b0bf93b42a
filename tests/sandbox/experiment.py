"""One seed of the experiment: a real run folder with both arms from one start, and what came of it.

Every stage is that of `hrlaif run`; calibration and report are left out. Variants change the configuration, or rewrite
an arm's labels between two stages where the package has no switch for what they leave out.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from hrlaif import pipeline
from hrlaif.artifacts import read_json, read_manifest, read_records, write_records
from hrlaif.config import Config
from hrlaif.judges.compare import orders, votes_of
from hrlaif.judges.verdict import verdict_of
from hrlaif.metrics import flip_rate
from hrlaif.models.scripted import ScriptedServer
from hrlaif.plan import execute, plan
from hrlaif.run import Run
from hrlaif.types import Basis, Label, Outcome, Pair, Prompt, Response, Task, Verdict, Verification
from sandbox.labeler import LABELER, PEOPLE, Bias, Labeler
from sandbox.world import Reading, World

ARMS = ("rlaif", "hrlaif")
SKIPPED = ("calibration", "report")
Relabel = Callable[[Path, Sequence[Label]], Sequence[Label]]


@dataclass(frozen=True)
class Scale:
    """How much of everything: the share of the world's training rows, responses and pairs a prompt, and PPO's work."""

    share: float = 1.0
    responses: int = 4
    pairs: int = 4
    steps: int = 100
    rollouts: int = 64
    reward_epochs: int = 6


@dataclass(frozen=True)
class Variant:
    """What is different from the method: settings by section, an arm's labels rewritten, the labeler's accuracy."""

    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    relabel: Mapping[str, Relabel] = field(default_factory=dict)
    accuracy: float | None = None
    arms: tuple[str, ...] = ("hrlaif",)


def _hard(_: Path, labels: Sequence[Label]) -> list[Label]:
    sure = {Verdict.FIRST: 1.0, Verdict.SECOND: 0.0}
    return [replace(label, p_first=sure.get(label.verdict, 0.5)) for label in labels]


def _one_order(_: Path, labels: Sequence[Label]) -> list[Label]:
    """Each comparison as if the judge had been asked once, in the pair's own order."""

    def alone(label: Label) -> Label:
        votes = votes_of(label)
        if not votes:
            return label
        p_first = votes[0].forward.p_first
        return replace(label, p_first=p_first, verdict=verdict_of(p_first, tie_margin=0.0))

    return [alone(label) for label in labels]


def _basic(run: Path, _: Sequence[Label]) -> list[Label]:
    """The basic arm's labels, but for the prompts that belong to the red team."""
    tasks = {prompt.id: prompt.task for prompt in read_records(run / "prompts.jsonl", Prompt)}
    basic = read_records(run / "rlaif" / "labels.jsonl", Label)
    return [label for label in basic if tasks[label.prompt_id] not in (Task.RED_TEAM, Task.BENIGN_TRICKY)]


METHOD = Variant(arms=ARMS)
VARIANTS = {
    "method": METHOD,
    "verifier only": Variant({"red_team": {"enabled": False}}),
    "red team only": Variant(relabel={"hrlaif": _basic}, arms=ARMS),
    "hard labels": Variant({"labels": {"verifier_probability": 1.0}}, {"rlaif": _hard, "hrlaif": _hard}, arms=ARMS),
    "without swap": Variant(relabel={"rlaif": _one_order, "hrlaif": _one_order}, arms=ARMS),
    "verifier in the reward": Variant({"policy": {"mix": {"verifier": 1.0}}}),
    **{f"accuracy {accuracy}": Variant(accuracy=accuracy, arms=ARMS) for accuracy in (0.5, 0.7, 0.8, 0.95)},
}


def configured(folder: Path, start: Path, url: str, *, seed: int, scale: Scale, variant: Variant) -> Config:
    """The configuration of one run."""
    # All weights: adapters on so small a model cost more than they save.
    lora = {"rank": 0}
    # Flourishes around a core: some thirty words and signs at most.
    tokens = 40
    sections: dict[str, dict[str, Any]] = {
        "model": {"name": str(start), "device": "cpu"},
        "judge": {"url": url, "model": LABELER},
        "prompts": {"sources": [{"path": str(folder / "world.jsonl")}]},
        "responses": {"per_prompt": scale.responses, "max_tokens": tokens},
        "labels": {"pairs_per_prompt": scale.pairs, "solve_times": 3},
        "red_team": {"attacks_per_prompt": 1, "responses_per_attack": 3, "max_tokens": tokens},
        # All advice of this world opens alike.
        "pairs": {"max_opening_share": 1.0},
        "reward": {
            "lora": lora, "epochs": scale.reward_epochs, "learning_rate": 3e-4, "pairs_per_step": 32, "held_out": 0.1,
            "batch_tokens": 4096, "early_stop": {"every": 20, "patience": 4},
        },
        "policy": {
            "lora": lora, "steps": scale.steps, "rollouts": scale.rollouts, "minibatch": scale.rollouts // 4,
            "learning_rate": 5e-4, "kl_weight": 0.4, "max_tokens": tokens, "stop_kl": 0.1,
            # A critic on so small a trunk explains a sixth of the returns at most: responses are compared.
            "advantages": "rloo", "samples_per_prompt": 4,
            "held_out": 0, "checkpoint_every": 10_000, "batch_tokens": 4096,
        },
        # Greedy answers would all be right: the start's errors are a matter of chance.
        "evaluation": {
            "temperature": 1.0, "max_tokens": tokens, "train_prompts": 0, "judge": {"url": url, "model": PEOPLE},
        },
    }  # fmt: skip
    for name, changes in variant.settings.items():
        sections[name] |= changes
    return Config.model_validate({"run_dir": str(folder), "seed": seed, "arms": variant.arms, **sections})


def run(
    folder: Path, start: Path, world: World, *, seed: int, scale: Scale, variant: Variant = METHOD, until: str = ""
) -> Path:
    """Make a run in `folder` up to the stage `until` (all of it), or go on with it; returns the folder."""
    labeler = Labeler(world, seed=seed)
    folder.mkdir(parents=True, exist_ok=True)
    rows = world.prompt_rows(scale.share)
    (folder / "world.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    with ScriptedServer(labeler.answer) as server:
        config = configured(folder, start, server.url, seed=seed, scale=scale, variant=variant)
        with Run(config) as opened:
            for step in plan(pipeline.STAGES, config):
                if step.stage.name in SKIPPED:
                    continue
                execute(opened, [step], tell=lambda _: None)
                if step.stage.name == "verifications":
                    seen = flourishes(folder, world)
                    bias = Bias.measured(seen)
                    labeler.bias = bias if variant.accuracy is None else bias.with_accuracy(variant.accuracy, seen)
                if step.stage.name == "labels" and step.arm in variant.relabel:
                    _relabelled(step.path, folder, variant.relabel[step.arm])
                if step.stage.name == until and step.arm in (None, variant.arms[-1]):
                    break
    return folder


def flourishes(folder: Path, world: World) -> dict[bool, dict[int, float]]:
    """How often the start's right (True) and wrong responses to checkable prompts have none, one and two flourishes.

    Each counts by its pairs with one of the other kind: on such pairs the labeler's faults were measured.
    """
    answers: dict[str, list[Reading]] = {}
    asked = {prompt.id: prompt for prompt in read_records(folder / "prompts.jsonl", Prompt) if prompt.task.is_checkable}
    for response in read_records(folder / "responses.jsonl", Response):
        if prompt := asked.get(response.prompt_id):
            question = world.question(prompt.messages[-1].content)
            if question is not None:
                answers.setdefault(prompt.id, []).append(world.reading(question, response.text))
    counts: dict[bool, Counter[int]] = {True: Counter(), False: Counter()}
    for readings in answers.values():
        right = [reading.good for reading in readings]
        for reading in readings:
            counts[reading.good][reading.flourishes] += right.count(not reading.good)
    return {good: {one: n / count.total() for one, n in count.items()} for good, count in counts.items()}


def _relabelled(path: Path, folder: Path, relabel: Relabel) -> None:
    """Rewrite an arm's labels in place; a run that goes on finds them current."""
    manifest = read_manifest(path) or {}
    if "relabelled" in manifest:
        return
    labels = relabel(folder, list(read_records(path, Label)))
    kept = {key: manifest[key] for key in ("judge", "arm", "comparisons", "left_out")}
    write_records(path, labels, fingerprint=manifest["fingerprint"], relabelled=True, **kept)


def findings(folder: Path) -> dict[str, float]:
    """What a finished run measured: `ARM NAME`, or `ARM NAME, CATEGORY`; shares and their differences as 0..1."""
    summary = read_json(folder / "metrics.json")
    found = {}
    for kind, suffix in (("metrics", ""), ("differences", " change")):
        for arm, groups in summary[kind].items():
            for group, metrics in groups.items():
                of = "" if group == "all" else f", {group}"
                found |= {f"{arm} {name}{suffix}{of}": metric["value"] for name, metric in metrics.items()}
    return found | quality(folder)


def quality(folder: Path) -> dict[str, float]:
    """What a run's labels and pairs are worth, by the world's truth; needs no training.

    - `asked once`: how often one call on a right and a wrong checkable response chose the right one.
    - `same verdict`: how often both orders of such a pair gave the same verdict.
    - `ARM lead of the first`: mean P(first) of its judged labels minus 0.5; sides are random: only position moves it.
    - `ARM right`: the share of an arm's pairs of a right and a wrong checkable response that choose the right one.
    - `safer`, `more harmful`: how many pairs of `hrlaif` choose a harmless over a harmful response, and the reverse.
    - `more helpful`: how many choose help over a needless refusal.
    """
    found: dict[str, float] = {}
    outcomes = {
        verification.response_id: verification.outcome
        for verification in read_records(folder / "verifications.jsonl", Verification)
    }
    if (folder / "rlaif" / "labels.jsonl").exists():
        labels = list(read_records(folder / "rlaif" / "labels.jsonl", Label))
        decided = [label for label in labels if {outcomes.get(one) for one in _ids(label)} == _MIXED]
        calls = [(outcomes[call.first_id], call.verdict) for one in decided for call in one.evidence.judgements]
        right = [(outcome is Outcome.CORRECT) == (verdict is Verdict.FIRST) for outcome, verdict in calls]
        found["asked once"] = sum(right) / len(right)
        votes = [orders(vote) for label in decided for vote in votes_of(label)]
        found["same verdict"] = 1 - flip_rate(votes).value
    for arm in ARMS:
        if (folder / arm / "pairs.jsonl").exists():
            found |= _pairs_quality(folder, arm, outcomes)
    return found


_MIXED = {Outcome.CORRECT, Outcome.WRONG}


def _ids(label: Label) -> tuple[str, str]:
    return label.first_id, label.second_id


def _pairs_quality(folder: Path, arm: str, outcomes: Mapping[str, Outcome]) -> dict[str, float]:
    labels = [label for label in read_records(folder / arm / "labels.jsonl", Label) if label.evidence.judgements]
    world, pairs = World(), list(read_records(folder / arm / "pairs.jsonl", Pair))
    chosen = [outcomes[pair.provenance["chosen_id"]] for pair in pairs if _sides(pair, outcomes) == _MIXED]
    found = {
        f"{arm} lead of the first": sum(label.p_first for label in labels) / len(labels) - 0.5,
        f"{arm} right": sum(outcome is Outcome.CORRECT for outcome in chosen) / max(1, len(chosen)),
    }
    if arm == "hrlaif":
        sides = list(_red_team_sides(world, pairs))
        found["safer"] = sum(rejected.harmful and chosen.good for chosen, rejected in sides)
        found["more harmful"] = sum(chosen.harmful for chosen, _ in sides)
        found["more helpful"] = sum(rejected.refuses and chosen.good for chosen, rejected in sides)
    return found


def _sides(pair: Pair, outcomes: Mapping[str, Outcome]) -> set[Outcome | None]:
    return {outcomes.get(pair.provenance.get(side, "")) for side in ("chosen_id", "rejected_id")}


def _red_team_sides(world: World, pairs: Sequence[Pair]) -> Iterator[tuple[Any, Any]]:
    for pair in pairs:
        question = world.question(pair.messages[-1].content)
        if pair.basis is Basis.RED_TEAM and question is not None:
            yield world.reading(question, pair.chosen), world.reading(question, pair.rejected)


def faults(found: Mapping[str, float]) -> list[str]:
    """Which parts of the method do not do in a run what they are there for, by the quality of its pairs."""
    broken = []
    if found["hrlaif right"] < 0.95:
        broken.append("hybrid labels")
    if max(abs(found[f"{arm} lead of the first"]) for arm in ARMS) > 0.08:
        broken.append("both orders")
    if found["safer"] < 5 * max(1, found["more harmful"]) or found["more helpful"] < 5:
        broken.append("red-team pairs")
    return broken
