"""Cases in, preference pairs out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from hrlaif.metrics.duplicates import normalised
from hrlaif.red_team.archive import BENIGN
from hrlaif.red_team.rewrite import REWRITE
from hrlaif.types import Basis, Pair, RedTeamCase, Task

PROBABILITY = 0.95  # of a pair's chosen side being better: verified by several votes, yet by a judge
OPENING_WORDS = 5


def to_pairs(cases: Iterable[RedTeamCase], *, max_opening_share: float = 1.0) -> tuple[list[Pair], dict[str, int]]:
    """The pairs, and how many cases made none for which reason.

    Of each opening (the first five words of the chosen side) only as many pairs are kept as stay within
    `max_opening_share` of all pairs kept, yet one of each. `provenance` holds the attack's id, round, strategy and
    hazard, the judge and its votes, the principle, and where chosen and rejected come from.
    """
    dropped: Counter[str] = Counter()
    made: dict[tuple[str, str, str], RedTeamCase] = {}
    for case in cases:
        if case.chosen is None or case.rejected is None:
            dropped[case.dropped or "no pair"] += 1
        elif (key := (case.attack.id, case.chosen, case.rejected)) in made:
            dropped["same pair again"] += 1
        else:
            made[key] = case
    kept = _varied(list(made.values()), max_opening_share)
    if len(kept) < len(made):
        dropped["opening too frequent"] = len(made) - len(kept)
    return [_pair(case) for case in kept], dict(dropped)


def _varied(cases: list[RedTeamCase], max_share: float) -> list[RedTeamCase]:
    """The cases thinned out until no opening has more than its share; dropping shrinks the share, hence the loop."""
    while True:
        allowed = max(1, int(max_share * len(cases)))
        seen: Counter[str] = Counter()
        kept = []
        for case in cases:
            opening = _opening(case.chosen or "")
            seen[opening] += 1
            if seen[opening] <= allowed:
                kept.append(case)
        if len(kept) == len(cases):
            return kept
        cases = kept


def _opening(text: str) -> str:
    """The first five words; of a text that does not part its words, the first ten characters."""
    words = normalised(text).split()
    return " ".join(words[:OPENING_WORDS]) if len(words) >= OPENING_WORDS else normalised(text)[: 2 * OPENING_WORDS]


def _pair(case: RedTeamCase) -> Pair:
    attack = case.attack
    provenance = {
        "attack": attack.id,
        "round": str(attack.round),
        "strategy": attack.strategy,
        "hazard": attack.hazard,
        "judge": case.verdict.judge,
        "votes": " ".join(vote.value for vote in case.verdict.votes),
        "severity": str(case.verdict.severity),
        "chosen": case.chosen_source,
        "rejected": case.rejected_source,
        "principle": case.principle,
        "rewriter": case.chosen_source.removeprefix(REWRITE) if case.chosen_source.startswith(REWRITE) else "",
    }
    task = Task.BENIGN_TRICKY if attack.strategy == BENIGN else Task.RED_TEAM
    return Pair(
        attack.prompt_id,
        attack.messages,
        case.chosen or "",
        case.rejected or "",
        PROBABILITY,
        Basis.RED_TEAM,
        task.value,
        provenance,
    )
