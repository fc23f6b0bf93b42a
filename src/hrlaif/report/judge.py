"""The section on the judge: how often it agrees with known answers, and an honest sentence when it is weak."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hrlaif.artifacts import number
from hrlaif.metrics import wilson
from hrlaif.report.data import RunData
from hrlaif.report.layout import Cell, Dots, Figure, Panel, Section, Table, Tone
from hrlaif.report.wording import NONE, count, flat, measured, percent, plain, point, tidy
from hrlaif.types import Metric

WEAK, FAIR = 0.65, 0.8
GUESS = percent(0.5, 0)


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
    on_people: Mapping[str, Mapping[str, Any]] = facts.get("on_people") or {}
    rows += [(f"pairs that people compared: labels of {arm}", _agreement(found)) for arm, found in on_people.items()]
    members: Mapping[str, Any] = facts.get("by_judge") or {}
    rows += [(tidy(name, 40), _agreement({"pairs": facts.get("pairs"), **value})) for name, value in members.items()]
    categories = facts.get("by_category") or {}
    rows += [(tidy(name, 30), metric) for name, value in categories.items() if (metric := _category(value))]
    chart = Dots(
        tuple((name, {"judge": point(metric)}) for name, metric in rows), ("judge",), "agreement", 0.5, "guessing"
    )
    pairs = count(rows[0][1].n)
    caption = (
        f"Share of pairs on which the judge, asked in both orders, prefers the response that is known to be better: "
        f"{pairs} labelled pairs, by {'member of the panel and by ' if members else ''}category below; 95 % Wilson "
        "intervals."
    )
    return Section(
        "judge",
        "How good the judge is",
        lead=_judge_lead(facts, own),
        callout=words,
        tone=tone,
        figures=(Figure(caption, (Panel("judge", "Agreement with known answers", chart),)),),
        tables=(
            Table(
                "Table: agreement by kind of pair",
                ("Pairs", "Agreement"),
                tuple((Cell(name), measured(metric)) for name, metric in rows),
            ),
            *_members(members),
            _judge_numbers(facts),
        ),
    )


def short_warning(facts: Mapping[str, Any]) -> str:
    """What a reader of the headline must know of a weak judge; empty for any other."""
    if judge_warning(facts)[1] != "warning":
        return ""
    seen = _agreement(facts)
    return (
        f"Read with care: the judge behind these labels, win ratios and open-prompt satisfaction agrees with known "
        f"answers {percent(seen.value)} of the time, and guessing would {GUESS}. Details in the next section."
    )


def judge_warning(facts: Mapping[str, Any]) -> tuple[str, Tone]:
    """One honest sentence about the judge, and whether it is a warning; empty without a calibration."""
    if number(facts.get("agreement")) is None:
        return "", "plain"
    seen = _agreement(facts)
    name = "The bundled judge" if facts.get("bundled") else f"The judge ({tidy(str(facts.get('judge', '?')), 60)})"
    measure = (
        f"it picks the better response of a labelled pair {percent(seen.value)} of the time "
        f"({100 * seen.low:.1f} to {100 * seen.high:.1f}, n = {count(seen.n)}), where guessing gives {GUESS}"
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
    if flips := _stated(facts, "flip_rate"):
        lead.append(f"When the two responses change places, its verdict changes on {flips} of the pairs.")
    if first := _stated(facts, "p_first"):
        lead.append(f"On average it gives the response that stands first {first}; without bias this is {GUESS}.")
    longer, better = (_stated(facts, key) for key in ("longer_chosen", "longer_is_better"))
    if longer and better:
        lead.append(f"It chooses the longer response {longer} of the time; the longer is better {better}.")
    if (unreadable := number(facts.get("unreadable"))) is not None:
        lead.append(f"Pairs without a readable verdict: {count(unreadable)}.")
    if number(own.get("agreement")) is not None:
        seen = _agreement(own)
        lead.append(
            f"On this run's own pairs that the verifier decided, it agrees with the verifier {percent(seen.value)} of "
            f"the time ({100 * seen.low:.1f} to {100 * seen.high:.1f}, n = {count(seen.n)}): these are the labels that "
            "the basic arm gets from it and the hybrid arm does not."
        )
    return (" ".join(lead),) if lead else ()


def _stated(facts: Mapping[str, Any], key: str) -> str:
    """A share with its interval, where it has one, as it stands in a sentence; nothing where it was not measured."""
    cell = _bounded(facts, key)
    if cell.text == NONE:
        return ""
    return f"{cell.text} ({cell.detail})" if cell.detail else cell.text


def _members(members: Mapping[str, Any]) -> tuple[Table, ...]:
    """Each judge of a panel by itself."""
    columns = {"agreement": "Agreement", "flip_rate": "Flips with the order", "p_first": "Gives the first"}
    rows = tuple(
        (Cell(tidy(name, 60)), *(_bounded(value, key) for key in columns), *plain((value.get("unreadable", NONE),)))
        for name, value in members.items()
    )
    return (Table("Table: each judge of the panel", ("Judge", *columns.values(), "Unreadable"), rows),) if rows else ()


def _bounded(facts: Mapping[str, Any], key: str) -> Cell:
    value, low, high = (number(facts.get(name)) for name in (key, f"{key}_low", f"{key}_high"))
    if value is None:
        return Cell(NONE)
    return Cell(percent(value), "" if low is None or high is None else f"{100 * low:.1f} to {100 * high:.1f}")


def _judge_numbers(facts: Mapping[str, Any]) -> Table:
    elsewhere = ("by_category", "by_judge", "on_verified", "on_people")
    shown = {key: value for key, value in facts.items() if key not in elsewhere}
    return Table("All that calibration.json says.", ("", "Value"), tuple(plain(row) for row in flat(shown)))
