"""What rounds of attacks left behind, counted while it is read: no text of an attack or of an answer is kept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from hrlaif.artifacts import read_manifest, read_records
from hrlaif.config import Config
from hrlaif.metrics import words
from hrlaif.types import Basis, HarmOutcome, Pair, RedTeamCase, Task

BENIGN = "benign"
"""The strategy of a harmless request that looks unsafe."""
HARM, EVASION, REFUSAL = "safe beats harmful", "helpful beats evasive", "helpful beats refusal"
KINDS = (HARM, EVASION, REFUSAL)
REWRITE = "rewrite"
OPENING_WORDS = 5
Facts = Mapping[str, Any]


@dataclass
class Round:
    """One round of attacks: counts over its cases, and `facts`, the manifest of its file.

    `made` counts the cases that made a pair, by kind. `dropped` holds every other case by its reason, `benign` those of
    harmless requests among all.
    """

    number: int
    facts: Facts = field(default_factory=dict)
    attacks: int = 0
    outcomes: Counter[HarmOutcome] = field(default_factory=Counter)
    rewritten: int = 0
    made: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)
    benign: int = 0

    def read(self, cases: Iterable[RedTeamCase]) -> Round:
        """Count the cases."""
        attacks = set()
        for case in cases:
            is_benign, is_harmful = case.attack.strategy == BENIGN, case.verdict.outcome is HarmOutcome.HARMFUL
            if case.chosen is None:
                self.dropped[case.dropped or "no pair"] += 1
            else:
                self.made[REFUSAL if is_benign else HARM if is_harmful else EVASION] += 1
            if is_benign:
                self.benign += 1
                continue
            attacks.add(case.attack.id)
            self.outcomes[case.verdict.outcome] += 1
            # A rewrite is written under a principle, whether it was accepted or not.
            self.rewritten += bool(case.principle)
        self.attacks = len(attacks)
        return self

    @property
    def answers(self) -> int:
        """Answers to attacks."""
        return self.outcomes.total()

    @property
    def before(self) -> dict[str, int]:
        """Seeds and attacks that were never sent, by reason, as the manifest has them beside the cases' reasons."""
        told = {
            str(name).removeprefix("dropped: "): count
            for name, count in (self.facts.get("counts") or {}).items()
            if str(name).startswith("dropped: ")
        }
        return {reason: int(count) for reason, count in told.items() if reason not in self.dropped}


class PairKey(NamedTuple):
    """What the balance of red-team pairs is counted by."""

    round: int
    kind: str
    hazard: str
    strategy: str
    source: str


@dataclass
class RedTeamPairs:
    """Pairs from red teaming as they are trained on; `openings` counts how their chosen sides begin, by hash."""

    counts: Counter[PairKey] = field(default_factory=Counter)
    openings: Counter[int] = field(default_factory=Counter)

    def add(self, pair: Pair) -> None:
        """Count one pair."""
        told = pair.provenance
        is_benign = pair.category == Task.BENIGN_TRICKY.value
        is_harm = HarmOutcome.HARMFUL.value in told.get("votes", "").split()
        number = told.get("round", "1")
        key = PairKey(
            int(number) if number.isdecimal() else 1,
            REFUSAL if is_benign else HARM if is_harm else EVASION,
            told.get("hazard", ""),
            told.get("strategy", ""),
            REWRITE if told.get("rewriter") else "the policy's own answer",
        )
        self.counts[key] += 1
        self.openings[hash(tuple(words(pair.chosen)[:OPENING_WORDS]))] += 1

    def by(self, name: str) -> Counter[Any]:
        """How many pairs there are by one part of the key."""
        found: Counter[Any] = Counter()
        for key, count in self.counts.items():
            found[getattr(key, name)] += count
        return found


def home(run_dir: Path, config: Config, number: int) -> Path:
    """Where a round's files lie; the last one's are the arm's own."""
    return run_dir / "hrlaif" / ("" if number == config.red_team.rounds else f"round_{number}")


def read_rounds(run_dir: Path, config: Config) -> tuple[Round, ...]:
    """The rounds whose file is there, in order."""
    found = []
    for number in range(1, config.red_team.rounds + 1):
        path = home(run_dir, config, number) / "red_team.jsonl"
        if path.exists():
            found.append(Round(number, read_manifest(path) or {}).read(read_records(path, RedTeamCase)))
    return tuple(found)


def read_frozen(run_dir: Path, config: Config) -> dict[int, Facts]:
    """The manifests of the frozen set by round, 0 for the start; a run of one round has none."""
    if config.red_team.rounds == 1:
        return {}
    paths = {number: home(run_dir, config, number) / "regression.jsonl" for number in range(config.red_team.rounds + 1)}
    return {number: facts for number, path in paths.items() if (facts := read_manifest(path))}


def read_pairs(path: Path) -> tuple[dict[Basis, int], RedTeamPairs]:
    """How many pairs there are by what they rest on, and those from red teaming."""
    bases: Counter[Basis] = Counter()
    red_team = RedTeamPairs()
    for pair in read_records(path, Pair) if path.exists() else ():
        bases[pair.basis] += 1
        if pair.basis is Basis.RED_TEAM:
            red_team.add(pair)
    return {basis: bases[basis] for basis in Basis if basis in bases}, red_team
