"""Reads a run folder: every part may be missing, a damaged one is an error that names the line."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from hrlaif.artifacts import number, read_json, read_manifest, read_records
from hrlaif.config import Config
from hrlaif.judges.compare import orders, pooled, votes_of
from hrlaif.report.rounds import Facts, RedTeamPairs, Round, read_frozen, read_pairs, read_rounds
from hrlaif.types import Basis, Evaluation, Label, Metric, Prompt, Split, Verdict

Record = TypeVar("Record")
START = "start"


@dataclass
class LabelCounts:
    """What is shown of an arm's labels of one basis; `orders` counts (verdict, verdict with the places changed).

    A panel counts as one judge in `orders`, and by member in `by_judge`.
    """

    verdicts: Counter[Verdict] = field(default_factory=Counter)
    orders: Counter[tuple[Verdict, Verdict]] = field(default_factory=Counter)
    by_judge: dict[str, Counter[tuple[Verdict, Verdict]]] = field(default_factory=dict)
    calls: int = 0

    @property
    def n(self) -> int:
        """How many labels there are."""
        return self.verdicts.total()

    def add(self, label: Label) -> None:
        """Count one label."""
        self.verdicts[label.verdict] += 1
        self.calls += len(label.evidence.judgements)
        votes = votes_of(label)
        if votes:
            self.orders[orders(pooled(votes))] += 1
        for vote in votes:
            self.by_judge.setdefault(vote.forward.judge, Counter())[orders(vote)] += 1


@dataclass(frozen=True)
class ArmData:
    """One arm's files; an empty value stands for a file that is not there. `people`: who voted on its responses."""

    labels: Mapping[Basis, LabelCounts] = field(default_factory=dict)
    pairs: Mapping[Basis, int] = field(default_factory=dict)
    red_team_pairs: RedTeamPairs = field(default_factory=RedTeamPairs)
    dropped: Mapping[str, int] = field(default_factory=dict)
    people: Mapping[str, Any] = field(default_factory=dict)
    reward_summary: Mapping[str, Any] = field(default_factory=dict)
    reward_steps: tuple[Mapping[str, Any], ...] = ()
    policy_summary: Mapping[str, Any] = field(default_factory=dict)
    policy_steps: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True)
class RunData:
    """A run folder as the report needs it. `arms` holds the configured arms in order, without the start.

    `rounds` are the rounds of the red team, `frozen` the manifests of the frozen set by round (0: the start).
    """

    config: Config
    prompts: Mapping[str, Prompt]
    responses: int
    arms: Mapping[str, ArmData]
    rounds: tuple[Round, ...]
    frozen: Mapping[int, Facts]
    evaluations: tuple[Evaluation, ...]
    metrics: Mapping[str, Any]
    calibration: Mapping[str, Any]
    costs: Mapping[str, Any]
    sft_summary: Mapping[str, Any] = field(default_factory=dict)
    sft_steps: tuple[Mapping[str, Any], ...] = ()
    show_harmful: bool = False

    @property
    def series(self) -> tuple[str, ...]:
        """All contestants, in the order in which every figure and table shows them."""
        return self.config.contestants

    @property
    def others(self) -> tuple[str, ...]:
        """All that are compared with the start."""
        return self.series[1:]

    def rows(self, split: Split) -> list[Evaluation]:
        """Evaluations of one split; a prompt that is not in prompts.jsonl counts as an evaluation prompt."""
        return [row for row in self.evaluations if self.split_of(row.prompt_id) is split]

    def split_of(self, prompt_id: str) -> Split:
        """Which split a prompt belongs to."""
        prompt = self.prompts.get(prompt_id)
        return prompt.split if prompt else Split.EVALUATION

    def metric(self, arm: str, group: str, name: str) -> Metric | None:
        """A metric of metrics.json, None where it was not measured."""
        return as_metric(self.metrics.get("metrics", {}).get(arm, {}).get(group, {}).get(name), name)

    def difference(self, arm: str, group: str, name: str) -> Metric | None:
        """An arm's paired difference from the start, None where it was not measured."""
        return as_metric(self.metrics.get("differences", {}).get(arm, {}).get(group, {}).get(name), name)


def load(run_dir: Path, config: Config, *, show_harmful: bool = False) -> RunData:
    """Read all that the run folder holds; `show_harmful` says whether sections may print what they else hide.

    Raises:
        DataError: A file is there but damaged; the message names the file and the line.
    """
    is_attacked = config.red_team.enabled and "hrlaif" in config.arms
    return RunData(
        config=config,
        prompts={prompt.id: prompt for prompt in _records(run_dir / "prompts.jsonl", Prompt)},
        responses=_lines(run_dir / "responses.jsonl"),
        arms={arm: _arm(run_dir / arm) for arm in config.arms},
        rounds=read_rounds(run_dir, config) if is_attacked else (),
        frozen=read_frozen(run_dir, config) if is_attacked else {},
        evaluations=_records(run_dir / "evaluation.jsonl", Evaluation),
        metrics=_json(run_dir / "metrics.json"),
        calibration=_json(run_dir / "calibration.json"),
        costs=_json(run_dir / "costs.json"),
        sft_summary=_json(run_dir / "sft" / "summary.json"),
        sft_steps=_steps(run_dir / "sft" / "metrics.jsonl"),
        show_harmful=show_harmful,
    )


def _arm(folder: Path) -> ArmData:
    manifest = read_manifest(folder / "pairs.jsonl") or {}
    pairs, red_team_pairs = read_pairs(folder / "pairs.jsonl")
    return ArmData(
        labels=_label_counts(folder / "labels.jsonl"),
        pairs=pairs,
        red_team_pairs=red_team_pairs,
        dropped=manifest.get("dropped", {}),
        people=(read_manifest(folder / "labels.jsonl") or {}).get("people", {}),
        reward_summary=_json(folder / "reward" / "summary.json"),
        reward_steps=_steps(folder / "reward" / "metrics.jsonl"),
        policy_summary=_json(folder / "policy" / "summary.json"),
        policy_steps=_steps(folder / "policy" / "metrics.jsonl"),
    )


def _label_counts(path: Path) -> dict[Basis, LabelCounts]:
    """Labels hold whole replies, and there may be very many: count them while reading."""
    counts: dict[Basis, LabelCounts] = {}
    for label in read_records(path, Label) if path.exists() else ():
        counts.setdefault(label.basis, LabelCounts()).add(label)
    return {basis: counts[basis] for basis in Basis if basis in counts}


def _records(path: Path, record_type: type[Record]) -> tuple[Record, ...]:
    return tuple(read_records(path, record_type)) if path.exists() else ()


def _steps(path: Path) -> tuple[Mapping[str, Any], ...]:
    return tuple(read_records(path, dict)) if path.exists() else ()


def _json(path: Path) -> Mapping[str, Any]:
    value = read_json(path) if path.exists() else {}
    return value if isinstance(value, dict) else {}


def _lines(path: Path) -> int:
    if not path.exists():
        return 0
    with path.open("rb") as file:
        return sum(1 for line in file if line.strip())


def as_metric(values: Any, name: str = "", *, n: int = 0) -> Metric | None:
    """A metric from the mapping that a file holds, or from a bare number of `n` rows, which has no interval."""
    if not isinstance(values, Mapping):
        value = number(values)
        return None if value is None else Metric(name, value, value, value, n)
    value = number(values.get("value", values.get(name)))
    if value is None:
        return None
    low, high, rows = (
        number(values.get("low")),
        number(values.get("high")),
        number(values.get("n", values.get("pairs", n))),
    )
    return Metric(
        str(values.get("name") or name),
        value,
        value if low is None else low,
        value if high is None else high,
        int(rows or 0),
        str(values.get("unit", "")),
    )
