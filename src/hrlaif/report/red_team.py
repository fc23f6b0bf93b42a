"""The section on the red team: from attack to pair by round, a reason for every drop, and the balance of the pairs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

from hrlaif.report.data import RunData
from hrlaif.report.hidden import hazard_name
from hrlaif.report.layout import Figure, Panel, Section, Stacks, Table
from hrlaif.report.rounds import EVASION, HARM, KINDS, REFUSAL, RedTeamPairs, Round
from hrlaif.report.wording import count, percent, plain, tidy, title_of
from hrlaif.types import HarmOutcome

ID, TITLE = "red-team", "Red team"
COUNTER_PAIRS = (1.0, 2.0)
"""Counter-pairs for each pair from an attack that keep a policy from refusing everything."""


def red_team(run: RunData) -> Section:
    """What became of the attacks of each round, and what was trained on."""
    if "hrlaif" not in run.arms:
        return Section(ID, TITLE, missing="the hrlaif arm, which is not part of this run")
    rounds = [one for one in run.rounds if one.answers or one.benign]
    if not rounds:
        return Section(ID, TITLE, missing="hrlaif/red_team.jsonl with at least one case")
    pairs = run.arms["hrlaif"].red_team_pairs
    stages = {f"round {one.number}": _stages(one, pairs) for one in rounds}
    names = tuple(stages)
    bars = tuple((stage, {name: stages[name][stage] for name in names}) for stage in stages[names[0]])
    caption = (
        f"From {count(sum(one.attacks for one in rounds))} attacks to training pairs, by round; the first attacks the "
        "start, each later one the policy of the round before. A harmful answer loses to a safe answer or to its own "
        "rewrite, judged again. Counts, not samples."
    )
    return Section(
        ID,
        TITLE,
        points=_balance(pairs),
        figures=(Figure(caption, (Panel(ID, "From attack to pair", Stacks(bars, names, "count")),)),),
        tables=(
            Table(
                "Table: from attack to pair",
                ("Stage", *map(title_of, names)),
                tuple(plain((stage, *row.values())) for stage, row in bars),
            ),
            _by_round("What the judge said of the answers to attacks.", "Outcome", rounds, _outcomes),
            _drops(run, rounds),
            *_pair_tables(pairs),
        ),
        notes=("Earlier rounds lie in hrlaif/round_1 ..., the last in hrlaif. Texts are not repeated here.",),
    )


def _stages(one: Round, pairs: RedTeamPairs) -> dict[str, int]:
    unjudged = one.outcomes[HarmOutcome.UNJUDGED]
    return {
        "attacks": one.attacks,
        "answers to them": one.answers,
        "judged": one.answers - unjudged,
        "unjudged": unjudged,
        "harmful": one.outcomes[HarmOutcome.HARMFUL],
        "rewrites asked for": one.rewritten,
        "verified: safe beats harmful": one.made[HARM],
        "verified: helpful beats evasive": one.made[EVASION],
        "harmless requests": one.benign,
        "helpful beats refusal": one.made[REFUSAL],
        "pairs trained on": pairs.by("round")[one.number],
    }


def _outcomes(one: Round) -> Counter[str]:
    return Counter({outcome.value: n for outcome, n in one.outcomes.items()})


def _by_round(caption: str, first: str, rounds: list[Round], read: Callable[[Round], Counter[str]]) -> Table:
    found = {one.number: read(one) for one in rounds}
    total = sum(found.values(), Counter())
    rows = tuple(
        plain((title_of(name), *(found[one.number][name] for one in rounds))) for name, _ in total.most_common()
    )
    return Table(caption, (first, *(f"Round {one.number}" for one in rounds)), rows)


def _drops(run: RunData, rounds: list[Round]) -> Table:
    """Every attack and case that made no pair: before it was sent, as a case, and when the pairs were put together."""
    columns = ("Where", "Reason", *(f"Round {one.number}" for one in rounds))
    rows = []
    for where, found in (
        ("before it was sent", [Counter(one.before) for one in rounds]),
        ("as a case", [one.dropped for one in rounds]),
    ):
        reasons = [reason for reason, _ in sum(found, Counter()).most_common()]
        rows += [plain((where, tidy(reason), *(counts[reason] for counts in found))) for reason in reasons]
    prefix = "red team: "
    known = {reason for one in rounds for reason in one.dropped}
    for reason, n in run.arms["hrlaif"].dropped.items():
        if reason.startswith(prefix) and (short := reason.removeprefix(prefix)) not in known:
            rows.append(plain(("as a pair", tidy(short), *("",) * (len(rounds) - 1), n)))
    return Table("What made no pair, by reason; of pairs, all rounds are in the last column.", columns, tuple(rows))


def _balance(pairs: RedTeamPairs) -> tuple[str, ...]:
    kinds = pairs.by("kind")
    attacks = kinds[HARM] + kinds[EVASION]
    if not attacks:
        return ()
    ratio = kinds[REFUSAL] / attacks
    low, high = COUNTER_PAIRS
    verdict = (
        "within the usual 1 to 2"
        if low <= ratio <= high
        else "fewer than the usual 1 to 2: the policy may learn to refuse"
        if ratio < low
        else "more than the usual 1 to 2: the policy may learn to comply"
    )
    most = max(pairs.openings.values()) / pairs.openings.total()
    return (
        f"{count(kinds[REFUSAL])} counter-pairs stand beside {count(attacks)} pairs from attacks: {ratio:.2f} for "
        f"each, {verdict}.",
        f"The most frequent opening of a chosen side has {percent(most)} of the {count(pairs.openings.total())} pairs.",
    )


def _pair_tables(pairs: RedTeamPairs) -> Iterable[Table]:
    if not pairs.counts:
        return
    for caption, first, key in (
        ("Pairs trained on by hazard.", "Hazard", "hazard"),
        ("Pairs trained on by strategy.", "Strategy", "strategy"),
        ("Pairs trained on by where the chosen side comes from.", "Chosen side", "source"),
    ):
        counts: dict[str, Counter[str]] = {}
        for one, n in pairs.counts.items():
            name = getattr(one, key)
            if key == "hazard":
                name = hazard_name(name) if one.kind != REFUSAL else "none: harmless requests"
            counts.setdefault(name, Counter())[one.kind] += n
        rows = tuple(
            plain((tidy(name, 40), *(found[kind] for kind in KINDS), found.total()))
            for name, found in sorted(counts.items(), key=lambda item: -item[1].total())
        )
        yield Table(caption, (first, *(kind.capitalize() for kind in KINDS), "Total"), rows)
