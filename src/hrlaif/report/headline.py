"""The section that a reader comes for: start and arms in one table, and what it means in plain sentences."""

from __future__ import annotations

from hrlaif.artifacts import number
from hrlaif.report.data import START, RunData, as_metric
from hrlaif.report.judge import short_warning
from hrlaif.report.layout import Cell, Section, Table
from hrlaif.report.monitors import tripped
from hrlaif.report.wording import ALL, NONE, difference, measured, plain, tidy, title_of

UNSURE = "Whether "
"""How the evaluation begins a sentence on a comparison that it could not decide."""
HEADLINE = ("satisfaction", "win_ratio", "correct", "harmful", "over_refusal", "length")
MORE = ("win_ratio_length_controlled", "harmful_corrected", "unreadable", "unjudged", "over_refusal_lenient")


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
    details = [_differences(run), _tests(run), _more(run)]
    warning = short_warning(run.calibration)
    said = tuple(tidy(str(sentence)) for sentence in run.metrics.get("sentences", ()))
    unsure = tuple(text for text in said if text.startswith(UNSURE))
    return Section(
        "headline",
        "Headline",
        points=(*(text for text in said if text not in unsure), *_alarms(run), *_how_much_stays_open(unsure)),
        folded_points=unsure,
        callout=warning,
        tone="warning",
        tables=(table, *(table for table in details if table)),
        notes=(
            "Satisfaction: the rule verifier's correct on checkable prompts, the judge's yes on open ones, harmless "
            "and no needless refusal on the rest. Win ratio: wins plus half the ties against the start, 50 % is no "
            "preference. More is better for satisfaction, win ratio and correct, less for harmful and over-refusal.",
        ),
    )


def _alarms(run: RunData) -> tuple[str, ...]:
    alarms = len(tripped(run))
    return (f"{alarms} monitors of over-optimisation trip: see their section.",) if alarms else ()


def _how_much_stays_open(unsure: tuple[str, ...]) -> tuple[str, ...]:
    if not unsure:
        return ()
    return (f"{len(unsure)} comparisons stay open: these data do not say which side is better. They are listed below.",)


def _has(run: RunData, arm: str) -> bool:
    return arm in run.metrics.get("metrics", {})


def _headline_cell(run: RunData, arm: str, name: str) -> Cell:
    if arm == START and name == "win_ratio":
        return Cell(NONE, "compared with itself")
    return measured(run.metric(arm, ALL, name))


def _differences(run: RunData) -> Table | None:
    names = [name for name in (*HEADLINE, *MORE, "reward") if any(run.difference(arm, ALL, name) for arm in run.others)]
    rows = tuple((Cell(arm), *(difference(run.difference(arm, ALL, name)) for name in names)) for arm in run.others)
    caption = "Difference from the start on the same prompts (paired), with its 95 % interval."
    return Table(caption, ("", *map(title_of, names)), rows) if names else None


def _more(run: RunData) -> Table | None:
    names = [name for name in MORE if any(run.metric(arm, ALL, name) for arm in run.series)]
    rows = tuple((Cell(arm), *(measured(run.metric(arm, ALL, name)) for name in names)) for arm in run.series)
    return Table("Further measurements on the same answers.", ("", *map(title_of, names)), rows) if names else None


def _tests(run: RunData) -> Table | None:
    rows = []
    for arms, tests in run.metrics.get("tests", {}).items():
        for name, test in tests.items():
            if (metric := as_metric(test, name)) is None:
                continue
            counts = (int(number(test.get(key)) or 0) for key in ("only_first", "only_second"))
            p = number(test.get("p"))
            title = tidy(f"{title_of(name)}: {arms}", 60)
            rows.append(
                (Cell(title), difference(metric), *plain(tuple(counts)), Cell(NONE if p is None else f"{p:.2g}"))
            )
    caption = "Paired differences between every two, with the exact McNemar test."
    return Table(caption, ("", "Difference", "Only the first", "Only the second", "p"), tuple(rows)) if rows else None
