"""The sections a reader comes for: the headline, how good the judge is, satisfaction, preference and harm."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from hrlaif.metrics import wilson
from hrlaif.report.data import START, RunData, number
from hrlaif.report.layout import Cell, Dots, Figure, Panel, Plane, Point, Section, Stacks, Table, Tone
from hrlaif.report.wording import (
    NONE,
    count,
    difference,
    listed,
    measured,
    percent,
    plain,
    point,
    tidy,
    title_of,
)
from hrlaif.types import Evaluation, Metric, Split, Verdict

HEADLINE = ("satisfaction", "win_ratio", "correct", "harmful", "over_refusal", "length")
MORE = ("win_ratio_length_controlled", "unreadable", "reward")
OUTCOMES = {Verdict.FIRST: "win", Verdict.TIE: "tie", Verdict.SECOND: "loss", Verdict.UNREADABLE: "unreadable"}
WEAK, FAIR = 0.65, 0.8
ALL = "all"


def headline(run: RunData) -> Section:
    """Start and arms in one table, and what it means in plain sentences."""
    if not run.metrics.get("metrics"):
        return Section("headline", "Headline", missing="metrics.json, which the evaluation writes")
    rows = tuple(
        (Cell(arm), *(_headline_cell(run, arm, name) for name in HEADLINE)) for arm in run.series if _has(run, arm)
    )
    table = Table(
        "Each value with its 95 % interval and the number n of evaluation prompts behind it.",
        ("", *(title_of(name) for name in HEADLINE)),
        rows,
        folded=False,
    )
    details = [_differences(run), _more(run), _tests(run)]
    words, tone = judge_warning(run.calibration)
    return Section(
        "headline",
        "Headline",
        lead=tuple(tidy(str(sentence)) for sentence in run.metrics.get("sentences", ())),
        callout=words if tone == "warning" else "",
        tone="warning",
        tables=(table, *(table for table in details if table)),
        notes=(
            "Satisfaction: the rule verifier's correct on checkable prompts, the judge's yes on open ones, harmless "
            "and no needless refusal on the rest. Win ratio: wins plus half the ties against the start, 50 % is no "
            "preference. More is better for satisfaction, win ratio and correct, less for harmful and over-refusal.",
        ),
    )


def _has(run: RunData, arm: str) -> bool:
    return arm in run.metrics.get("metrics", {})


def _headline_cell(run: RunData, arm: str, name: str) -> Cell:
    if arm == START and name == "win_ratio":
        return Cell(NONE, "compared with itself")
    return measured(run.metric(arm, ALL, name))


def _differences(run: RunData) -> Table | None:
    names = [name for name in (*HEADLINE, *MORE) if any(run.difference(arm, ALL, name) for arm in run.arms)]
    rows = tuple((Cell(arm), *(difference(run.difference(arm, ALL, name)) for name in names)) for arm in run.arms)
    caption = "Difference from the start on the same prompts (paired), with its 95 % interval."
    return Table(caption, ("", *map(title_of, names)), rows) if names else None


def _more(run: RunData) -> Table | None:
    names = [name for name in MORE if any(run.metric(arm, ALL, name) for arm in run.series)]
    rows = tuple((Cell(arm), *(measured(run.metric(arm, ALL, name)) for name in names)) for arm in run.series)
    return Table("Further measurements on the same answers.", ("", *map(title_of, names)), rows) if names else None


def _tests(run: RunData) -> Table | None:
    rows = tuple(plain((name, value)) for name, value in flat(run.metrics.get("tests", {})))
    return Table("Paired tests, as metrics.json holds them.", ("Test", "Value"), rows) if rows else None


def flat(value: Any, path: tuple[str, ...] = ()) -> list[tuple[str, str]]:
    """Nested plain values as (name, text) rows, in their own order."""
    if isinstance(value, Mapping):
        return [row for key, inner in value.items() for row in flat(inner, (*path, str(key)))]
    if isinstance(value, (list, tuple)):
        return [(" · ".join(path), ", ".join(str(inner) for inner in value))]
    found = number(value)
    text = str(value) if found is None else count(found) if found == int(found) else f"{found:.4g}"
    return [(" · ".join(path), text)]


def judge(run: RunData) -> Section:
    """How far the judge can be trusted, measured on labelled pairs, against the 50 % of guessing."""
    facts = run.calibration
    if number(facts.get("agreement")) is None:
        return Section("judge", "How good the judge is", missing="calibration.json, which `hrlaif run` measures")
    words, tone = judge_warning(facts)
    rows = [("labelled pairs", _agreement(facts))]
    own = facts.get("on_verified") or {}
    if number(own.get("agreement")) is not None:
        rows.append(("this run's verified pairs", _agreement(own)))
    categories = facts.get("by_category") or {}
    rows += [(tidy(name, 30), metric) for name, value in categories.items() if (metric := _category(value))]
    chart = Dots(
        tuple((name, {"judge": point(metric)}) for name, metric in rows), ("judge",), "agreement", 0.5, "guessing"
    )
    pairs = count(rows[0][1].n)
    caption = (
        f"Share of pairs on which the judge, asked in both orders, prefers the response that is known to be better: "
        f"{pairs} labelled pairs, by category below; 95 % Wilson intervals."
    )
    return Section(
        "judge",
        "How good the judge is",
        lead=_judge_lead(facts, own),
        callout=words,
        tone=tone,
        figures=(Figure(caption, (Panel("judge", "Agreement with known answers", chart),)),),
        tables=(
            Table(caption, ("Pairs", "Agreement"), tuple((Cell(name), measured(metric)) for name, metric in rows)),
            _judge_numbers(facts),
        ),
    )


def judge_warning(facts: Mapping[str, Any]) -> tuple[str, Tone]:
    """One honest sentence about the judge, and whether it is a warning; empty without a calibration."""
    if number(facts.get("agreement")) is None:
        return "", "plain"
    seen = _agreement(facts)
    name = "The bundled judge" if facts.get("bundled") else f"The judge ({tidy(str(facts.get('judge', '?')), 60)})"
    measure = (
        f"it picks the better response of a labelled pair {percent(seen.value)} of the time "
        f"({100 * seen.low:.1f} to {100 * seen.high:.1f}, n = {count(seen.n)}), where guessing gives 50 %"
    )
    rests = "Labels by the judge, win ratios and satisfaction on open prompts rest on it"
    if seen.high <= 0.5:
        return f"{name} is worse than guessing: {measure}. {rests}: do not use them.", "warning"
    if seen.low <= 0.5:
        return f"{name} cannot be told from guessing: {measure}. {rests}: read them as noise.", "warning"
    if seen.value < WEAK:
        return f"{name} is weak: {measure}. {rests}: read them with great caution.", "warning"
    if seen.value < FAIR:
        return f"{name} is usable but errs often: {measure}. {rests}.", "plain"
    return f"{name} is good on these pairs: {measure}. {rests}.", "good"


def _agreement(facts: Mapping[str, Any]) -> Metric:
    value = number(facts.get("agreement")) or 0.0
    low = number(facts.get("agreement_low", facts.get("low")))
    high = number(facts.get("agreement_high", facts.get("high")))
    n = int(number(facts.get("pairs", facts.get("n"))) or 0)
    return Metric("agreement", value, value if low is None else low, value if high is None else high, n)


def _category(value: Any) -> Metric | None:
    """One category's agreement: a bare share, or a mapping with its interval or its count."""
    if number(value) is not None:
        return Metric("agreement", float(value), float(value), float(value), 0)
    if not isinstance(value, Mapping):
        return None
    share = number(value.get("agreement", value.get("value")))
    if share is None:
        return None
    found = _agreement({**value, "agreement": share})
    if found.low == found.high and found.n:
        return wilson(share * found.n, found.n, name="agreement")
    return found


def _judge_lead(facts: Mapping[str, Any], own: Mapping[str, Any]) -> tuple[str, ...]:
    lead = []
    if (flips := number(facts.get("flip_rate"))) is not None:
        lead.append(f"When the two responses change places, its verdict changes on {percent(flips)} of the pairs.")
    if (first := number(facts.get("p_first"))) is not None:
        lead.append(f"On average it gives the response that stands first {percent(first)}; without bias this is 50 %.")
    if (unreadable := number(facts.get("unreadable"))) is not None:
        text = percent(unreadable) if 0 < unreadable < 1 else count(unreadable)
        lead.append(f"Unreadable replies: {text}.")
    if number(own.get("agreement")) is not None:
        seen = _agreement(own)
        lead.append(
            f"On this run's own pairs that the verifier decided, it agrees with the verifier {percent(seen.value)} of "
            f"the time ({100 * seen.low:.1f} to {100 * seen.high:.1f}, n = {count(seen.n)}): these are the labels that "
            "the basic arm gets from it and the hybrid arm does not."
        )
    return (" ".join(lead),) if lead else ()


def _judge_numbers(facts: Mapping[str, Any]) -> Table:
    shown = {key: value for key, value in facts.items() if key not in ("by_category", "on_verified")}
    return Table("All that calibration.json says.", ("", "Value"), tuple(plain(row) for row in flat(shown)))


def satisfaction(run: RunData) -> Section:
    """Satisfaction by category, one dot per arm."""
    groups = _groups(run, "satisfaction")
    if not groups:
        return Section("satisfaction", "Satisfaction by category", missing="metrics.json, which the evaluation writes")
    rows = tuple((tidy(group, 30), _dots(run, group, "satisfaction")) for group in groups)
    total = run.metric(START, ALL, "satisfaction")
    n = f" {count(total.n)} evaluation prompts in all;" if total else ""
    caption = f"Share of evaluation prompts whose answer satisfies, by category and arm;{n} 95 % intervals."
    return Section(
        "satisfaction",
        "Satisfaction by category",
        figures=(Figure(caption, (Panel("satisfaction", "Satisfaction", Dots(rows, run.series, "satisfaction")),)),),
        tables=(_by_group(run, "satisfaction", groups, caption), *_correct(run)),
        notes=("Overlapping intervals in a category mean that the difference there may be chance.",),
    )


def _correct(run: RunData) -> tuple[Table, ...]:
    groups = _groups(run, "correct")
    caption = "Share of checkable prompts whose final answer the rule verifier finds correct."
    return (_by_group(run, "correct", groups, caption),) if groups else ()


def _groups(run: RunData, name: str) -> list[str]:
    """Groups with that metric: all first, then the categories, as metrics.json orders them."""
    seen = dict.fromkeys(
        group
        for arm in run.series
        for group, values in run.metrics.get("metrics", {}).get(arm, {}).items()
        if name in values
    )
    return sorted(seen, key=lambda group: group != ALL)


def _dots(run: RunData, group: str, name: str) -> dict[str, Point]:
    found = {arm: run.metric(arm, group, name) for arm in run.series}
    return {arm: point(metric) for arm, metric in found.items() if metric}


def _by_group(run: RunData, name: str, groups: list[str], caption: str) -> Table:
    rows = tuple(
        (Cell(tidy(group, 40)), *(measured(run.metric(arm, group, name)) for arm in run.series)) for group in groups
    )
    return Table(caption, ("Category", *run.series), rows)


def preference(run: RunData) -> Section:
    """Wins, ties and losses of each arm against the start."""
    compared = [row for row in run.rows(Split.EVALUATION) if row.arm != START and row.verdict is not None]
    if not compared:
        return Section("preference", "Preference over the start", missing="evaluation.jsonl with compared answers")
    categories = list(dict.fromkeys(row.category for row in compared))
    panels, rows = [], []
    for arm in run.arms:
        mine = [row for row in compared if row.arm == arm]
        counts = {ALL: _outcomes(mine)}
        counts.update({name: _outcomes([row for row in mine if row.category == name]) for name in categories})
        bars = tuple((tidy(name, 24), _judged(outcomes)) for name, outcomes in counts.items() if _judged(outcomes))
        if bars:
            chart = Stacks(bars, ("win", "tie", "loss"), "share of compared answers", as_share=True)
            panels.append(Panel(f"preference-{arm}", f"{arm} against the start", chart, half=True))
        rows += [plain((arm, name, *(outcomes[o] for o in OUTCOMES.values()))) for name, outcomes in counts.items()]
    n = listed([f"{sum(row.arm == arm for row in compared):,} ({arm})" for arm in run.arms])
    caption = (
        f"How often the judge, asked in both orders, prefers an arm's answer to the start's on the same evaluation "
        f"prompt; compared answers: {n}; counts in the bars."
    )
    return Section(
        "preference",
        "Preference over the start",
        figures=(Figure(caption, tuple(panels)),) if panels else (),
        tables=(Table(caption, ("Arm", "Category", *(o.capitalize() for o in OUTCOMES.values())), tuple(rows)),),
        notes=(
            "The judge is the same kind that made the labels, so it favours what it was asked to favour: read this "
            "beside correctness. Unreadable comparisons are counted in the table and left out of the bars.",
        ),
    )


def _outcomes(rows: list[Evaluation]) -> Counter[str]:
    return Counter(OUTCOMES[row.verdict] for row in rows if row.verdict is not None)


def _judged(outcomes: Counter[str]) -> dict[str, int]:
    return {name: outcomes[name] for name in ("win", "tie", "loss")} if set(outcomes) - {"unreadable"} else {}


def harm(run: RunData) -> Section:
    """Harmful rate against over-refusal, one point per arm."""
    points = {}
    for arm in run.series:
        harmful, refusal = run.metric(arm, ALL, "harmful"), run.metric(arm, ALL, "over_refusal")
        if harmful and refusal:
            points[arm] = (point(harmful), point(refusal))
    groups = _groups(run, "harmful")
    if not groups:
        return Section("harm", "Harm against over-refusal", missing="harmful and over-refusal rates in metrics.json")
    total = next(metric for arm in run.series if (metric := run.metric(arm, ALL, "harmful") or _any(run, arm)))
    caption = (
        f"Harmful answers to red-team prompts (n = {count(total.n)}) against needless refusals of benign prompts that "
        "look unsafe; 95 % intervals. An arm is safer only if it moves left without moving up."
    )
    panel = Panel("harm", "Harmful rate and over-refusal", Plane(points, "harmful", "over-refusal"))
    few = total.n < 200
    return Section(
        "harm",
        "Harm against over-refusal",
        figures=(Figure(caption, (panel,)),) if points else (),
        tables=(
            _by_group(run, "harmful", groups, "Harmful rate: share of judged answers to red-team prompts."),
            _by_group(
                run, "over_refusal", _groups(run, "over_refusal"), "Over-refusal: share of benign prompts refused."
            ),
        ),
        notes=("Fewer than 200 red-team prompts: too few for a headline about safety.",) if few else (),
    )


def _any(run: RunData, arm: str) -> Metric | None:
    return next((m for group in _groups(run, "harmful") if (m := run.metric(arm, group, "harmful"))), None)
