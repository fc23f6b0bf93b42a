"""The sections on harm in the evaluation: harmful rate against over-refusal, and harm by hazard."""

from __future__ import annotations

from hrlaif.artifacts import number
from hrlaif.metrics import wilson
from hrlaif.report.data import START, RunData, as_metric
from hrlaif.report.hidden import hazard_name, hazard_place
from hrlaif.report.layout import Cell, Dots, Figure, Panel, Plane, Point, Section, Table
from hrlaif.report.results import by_group, groups_of
from hrlaif.report.wording import ALL, NONE, count, difference, measured, percent, point, title_of
from hrlaif.types import Evaluation, HarmOutcome, Metric, Split, Task

FEW = 200
RATES = ("harmful", "harmful_corrected", "unjudged", "over_refusal", "over_refusal_lenient")
BY_CATEGORY = (
    ("harmful", "Harmful rate by category: share of judged answers to red-team prompts."),
    ("harmful_corrected", "Harmful rate by category, corrected for the judge's errors."),
    ("unjudged", "Unjudged answers to red-team prompts by category: never counted as safe."),
    ("over_refusal", "Over-refusal by category: share of benign prompts that were refused or evaded."),
)


def harm(run: RunData) -> Section:
    """Harmful rate against over-refusal, one point per arm; corrected for the judge's errors where they are known."""
    names = [name for name in RATES if any(run.metric(arm, ALL, name) for arm in run.series)]
    if "harmful" not in names:
        return Section("harm", "Harm against over-refusal", missing="harmful and over-refusal rates in metrics.json")
    panels = [panel for name in ("harmful", "harmful_corrected") if (panel := _plane(run, name))]
    panels = [Panel(one.name, one.title, one.chart, half=len(panels) > 1) for one in panels]
    (fewest, most), (fewest_benign, _) = _counts(run, "harmful"), _counts(run, "over_refusal")
    caption = (
        f"Harmful answers to red-team prompts (judged: {_between(fewest, most)}) against needless refusals of benign "
        f"prompts that look unsafe (n = {count(fewest_benign)}); 95 % intervals. An arm is safer only if it moves left "
        "without moving up."
    )
    few = f"Fewer than {FEW} judged red-team prompts: too few for a headline about safety." if fewest < FEW else ""
    return Section(
        "harm",
        "Harm against over-refusal",
        figures=(Figure(caption, tuple(panels)),) if panels else (),
        tables=(_behind(run, names), *_against_start(run), *_by_category(run)),
        notes=(*((few,) if few else ()), _correction(run)),
    )


def _plane(run: RunData, name: str) -> Panel | None:
    points: dict[str, tuple[Point, Point]] = {}
    for arm in run.series:
        harmful, refusal = run.metric(arm, ALL, name), run.metric(arm, ALL, "over_refusal")
        if harmful and refusal:
            points[arm] = (point(harmful), point(refusal))
    if not points:
        return None
    is_raw = name == "harmful"
    title = "Harmful rate and over-refusal" if is_raw else "The same, corrected for the judge's errors"
    return Panel("harm" if is_raw else "harm-corrected", title, Plane(points, title_of(name).lower(), "over-refusal"))


def _counts(run: RunData, name: str) -> tuple[int, int]:
    n = [metric.n for arm in run.series if (metric := run.metric(arm, ALL, name))]
    return min(n, default=0), max(n, default=0)


def _between(low: int, high: int) -> str:
    return f"n = {count(low)}" if low == high else f"n = {count(low)} to {count(high)}"


def _behind(run: RunData, names: list[str]) -> Table:
    rows = tuple((Cell(arm), *(measured(run.metric(arm, ALL, name)) for name in names)) for arm in run.series)
    return Table("Table: harm and over-refusal", ("", *map(title_of, names)), rows)


def _against_start(run: RunData) -> tuple[Table, ...]:
    """Paired differences with the exact McNemar test."""
    rows = []
    for arm in run.others:
        tests = run.metrics.get("tests", {}).get(f"{arm} minus {START}", {})
        found = {name: tests.get(name) or {} for name in ("harmful", "over_refusal")}
        if any(found.values()):
            cells = (difference(as_metric(one, name), p=number(one.get("p"))) for name, one in found.items())
            rows.append((Cell(arm), *cells))
    caption = "Difference from the start on the same prompts (paired), with the exact McNemar test."
    return (Table(caption, ("", "Harmful", "Over-refusal"), tuple(rows)),) if rows else ()


def _by_category(run: RunData) -> tuple[Table, ...]:
    """By category where there is more than one."""
    return tuple(
        by_group(run, name, found, text) for name, text in BY_CATEGORY if len(found := groups_of(run, name)) > 2
    )


def _correction(run: RunData) -> str:
    judge = run.metrics.get("harm_judge")
    if not judge:
        return "Rates are as the judge counts them: how often it errs was not measured (evaluation.harm_calibration)."
    finds, passes = (as_metric(judge.get(name), name) for name in ("sensitivity", "specificity"))
    if finds is None or passes is None:
        return "Corrected rates take the judge's measured errors into account."
    return (
        f"Corrected (Rogan and Gladen) for a judge that finds {percent(finds.value)} of the harmful responses "
        f"(n = {count(finds.n)}) and passes {percent(passes.value)} of the harmless ones (n = {count(passes.n)})."
    )


def by_hazard(run: RunData) -> Section | None:
    """Harmful rate by hazard and arm on the evaluation prompts; None where no red-team prompt was evaluated."""
    found: dict[str, dict[str, list[Evaluation]]] = {}
    for row in run.rows(Split.EVALUATION):
        if row.task is Task.RED_TEAM and row.harm is not None:
            prompt = run.prompts.get(row.prompt_id)
            found.setdefault((prompt and prompt.hazard) or "", {}).setdefault(row.arm, []).append(row)
    if not found:
        return None
    codes = sorted(found, key=hazard_place)
    rates = {code: {arm: _rate(rows) for arm, rows in found[code].items()} for code in codes}
    bars = tuple(
        (hazard_name(code), {arm: point(one) for arm in run.series if (one := rates[code].get(arm)) and one.n})
        for code in codes
    )
    n = sum(len(rows) for rows in (of_arm.get(START, []) for of_arm in found.values()))
    caption = (
        f"Harmful answers by hazard and arm: {count(n)} red-team prompts in all, so few in each hazard; 95 % Wilson "
        "intervals. Unjudged answers are in no rate."
    )
    rows = tuple(
        (
            Cell(hazard_name(code)),
            *(_with_unjudged(rates[code].get(arm), found[code].get(arm, [])) for arm in run.series),
        )
        for code in codes
    )
    return Section(
        "hazards",
        "Harm by hazard",
        figures=(Figure(caption, (Panel("hazards", "Harmful rate by hazard", Dots(bars, run.series, "harmful")),)),),
        tables=(Table("Table: harmful rate by hazard", ("Hazard", *run.series), rows),),
        notes=("The hazard is that of the prompt, in prompts.jsonl.",),
    )


def _rate(rows: list[Evaluation]) -> Metric:
    judged = [row.harm.outcome for row in rows if row.harm and row.harm.outcome is not HarmOutcome.UNJUDGED]
    return wilson(sum(one is HarmOutcome.HARMFUL for one in judged), len(judged), name="harmful")


def _with_unjudged(rate: Metric | None, rows: list[Evaluation]) -> Cell:
    if rate is None:
        return Cell(NONE)
    unjudged = f"{len(rows) - rate.n} unjudged" if len(rows) > rate.n else ""
    if not rate.n:
        return Cell(NONE, unjudged)
    cell = measured(rate)
    return Cell(cell.text, "\n".join(part for part in (cell.detail, unjudged) if part))
