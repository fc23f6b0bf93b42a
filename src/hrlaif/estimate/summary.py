"""From counts to rows: calls, tokens, dollars and seconds by stage, expected and bounded, and what to say of them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hrlaif.config import ContestantSection, EndpointSection
from hrlaif.estimate.counting import Asked, Counts, Tally
from hrlaif.estimate.rehearsal import Parts
from hrlaif.models.base import BUNDLED_SLOTS, Calls
from hrlaif.models.wire import price
from hrlaif.plan import Step

LATENCY_S = 1.0
# The bundled model on two cores; what questions share it reads once.
BUNDLED_READ_TOKENS_PER_S = 350.0
BUNDLED_WRITTEN_TOKENS_PER_S = 75.0
RESPONSES = "responses"  # the ledger's purpose of what a policy wrote
ANSWERS = "answers/"  # and, before its name, of what a further model wrote
FIGURES = ("calls", "prompt_tokens", "completion_tokens", "usd", "seconds")
SIDES = ("low", "expected", "high")
Row = dict[str, Any]


def summarise(
    steps: Sequence[Step],
    tallies: Sequence[Tally],
    *,
    made: Collection[Path],
    parts: Parts,
    ledger: Calls | None,
    latency_s: float | None,
    budget_usd: float,
) -> Row:
    """The estimate as plain values; the first tally is the expected one, the others bound it.

    `stages` has a row per stage and part (`judge`, `evaluation judge`, `policy`; "" where nobody is asked): `stage`,
    `part`, `model`, `state` ("done" where the run folder has it, "exact", or "assumed"), `paid_calls` that the ledger
    has already, `latency_s` per call (None: by tokens per second), and for each of calls, prompt_tokens,
    completion_tokens, usd and seconds an object with low, expected and high. `total` sums them up, one stage after the
    other. `paid` is all that the ledger has paid; `priced` whether any endpoint has prices; `over_budget` whether paid
    and expected together exceed `budget_usd` (0: no limit).
    """
    rows: list[Row] = []
    for step in steps:
        asked = [part for part in parts if any((step.title, part.part) in tally.counts for tally in tallies)]
        rows += [_row(step, part, tallies, _latency_s(part, ledger, latency_s)) for part in asked]
        if not asked:
            rows.append(_silent(step, "done" if step.path in made else "exact"))
    total = {name: {side: round(sum(row[name][side] for row in rows), 6) for side in SIDES} for name in FIGURES}
    paid = ledger.totals() if ledger else None
    paid_usd = paid.usd if paid else 0.0
    return {
        "stages": rows,
        "total": total,
        "paid": {"calls": paid.calls if paid else 0, "usd": paid_usd},
        "priced": any(_has_prices(section) for part in parts if part.is_paid for section in part.sections),
        "budget_usd": budget_usd,
        "over_budget": bool(budget_usd) and paid_usd + total["usd"]["expected"] > budget_usd,
    }


def _row(step: Step, asked: Asked, tallies: Sequence[Tally], latency_s: float | None) -> Row:
    counts = [tally.counts.get((step.title, asked.part), Counts()) for tally in tallies]
    found = []
    for one in counts:
        usd = _usd(one, asked.sections)
        found.append({**asdict(one), "usd": usd, "seconds": _seconds(one, asked.sections, latency_s)})
    figures = {name: _sides([one[name] for one in found], whole=name not in ("usd", "seconds")) for name in FIGURES}
    is_exact = len(set(figures["calls"].values())) == 1
    return {
        "stage": step.title,
        "part": asked.part,
        "model": asked.name,
        "state": "exact" if is_exact else "assumed",
        "paid_calls": round(counts[0].paid_calls),
        "latency_s": latency_s,
        **figures,
    }


def _silent(step: Step, state: str) -> Row:
    figures = {name: _sides([0.0], whole=name not in ("usd", "seconds")) for name in FIGURES}
    return {
        "stage": step.title, "part": "", "model": "", "state": state, "paid_calls": 0, "latency_s": None, **figures,
    }  # fmt: skip


def _sides(values: Sequence[float], *, whole: bool) -> dict[str, float]:
    sides = {"low": min(values), "expected": values[0], "high": max(values)}
    return {side: round(value) if whole else round(value, 6) for side, value in sides.items()}


def _has_prices(section: EndpointSection) -> bool:
    return bool(section.usd_per_million_prompt_tokens or section.usd_per_million_completion_tokens)


def _usd(counts: Counts, sections: Sequence[EndpointSection]) -> float:
    """The price at the endpoints' own prices, each taking its weight's share of the calls."""
    tokens = round(counts.prompt_tokens), round(counts.completion_tokens)
    weights = [section.weight for section in sections]
    prices = [price(*tokens, section).usd for section in sections]
    return sum(weight * usd for weight, usd in zip(weights, prices, strict=True)) / sum(weights)


def _latency_s(asked: Asked, ledger: Calls | None, chosen: float | None) -> float | None:
    """Seconds per call: as chosen, as the ledger has it, or a default; None for the bundled model's first calls."""
    if chosen is not None:
        return chosen
    taken = ledger.seconds_by_purpose() if ledger else {}
    mine = [value for purpose, value in taken.items() if _is_asked_for(purpose, asked)]
    if calls := sum(count for count, _ in mine):
        return round(sum(seconds for _, seconds in mine) / calls, 3)
    return LATENCY_S if asked.sections[0].url else None


def _is_asked_for(purpose: str, asked: Asked) -> bool:
    """Whether calls of that purpose went to that model; what is neither a response nor an answer was judged."""
    if isinstance(asked.sections[0], ContestantSection):
        return purpose == f"{ANSWERS}{asked.part}"
    if asked.part == "policy":
        return purpose == RESPONSES
    return purpose != RESPONSES and not purpose.startswith(ANSWERS)


def _seconds(counts: Counts, sections: Sequence[EndpointSection], latency_s: float | None) -> float:
    """How long the calls take: by latency and calls in flight, or by the pace per minute, whichever is slower."""
    if latency_s is None:
        reading, writing = BUNDLED_READ_TOKENS_PER_S, BUNDLED_WRITTEN_TOKENS_PER_S
        return counts.prompt_tokens / reading + counts.completion_tokens / writing
    in_flight = sum(section.in_flight if section.url else BUNDLED_SLOTS for section in sections)
    seconds = counts.calls * latency_s / in_flight
    tokens = counts.prompt_tokens + counts.completion_tokens
    for units, limits in (
        (counts.calls, [section.requests_per_minute for section in sections]),
        (tokens, [section.tokens_per_minute for section in sections]),
    ):
        if all(limits):
            seconds = max(seconds, units / sum(limits) * 60)
    return max(seconds, latency_s) if counts.calls else 0.0


def table(found: Row) -> list[list[str]]:
    """The estimate as rows of text: a header, the stages, the total."""
    header = ["stage", "asked", "calls", "paid before", "tokens in", "tokens out", "USD", "time"]
    rows = [
        [
            row["stage"],
            row["part"] or "–",
            "done" if row["state"] == "done" else _range(row["calls"], _count),
            _count(row["paid_calls"]) if row["paid_calls"] else "",
            *_amounts(row, found["priced"]),
        ]
        for row in found["stages"]
    ]
    total = found["total"]
    return [header, *rows, ["total", "", _range(total["calls"], _count), "", *_amounts(total, found["priced"])]]


def remarks(found: Row) -> list[str]:
    """What has to be said below the table, one line each."""
    assumed = ", ".join(f"{name} {share:g}" for name, share in found["assumptions"].items())
    some = f" (from {found['sampled_prompts']} of them)" if found["sampled_prompts"] < found["prompts"] else ""
    asked = {
        row["part"]: f"{row['model']}, "
        + ("by tokens per second" if row["latency_s"] is None else f"{row['latency_s']:g} s a call")
        for row in found["stages"]
        if row["part"]
    }
    lines = [
        f"{found['prompts']} prompts{some}. Expected [least, most]; policy and judge are assumed to be: {assumed}.",
        *(f"{part}: {how}." for part, how in asked.items()),
        f"Tokens: {found['tokenizer']}. The time of local sampling and training comes on top.",
    ]
    if not found["priced"]:
        return [*lines, "No prices are configured (usd_per_million_prompt_tokens, usd_per_million_completion_tokens)."]
    if found["paid"]["calls"]:
        lines.append(f"Paid so far: {found['paid']['usd']:.4g} USD for {found['paid']['calls']} calls.")
    if budget := found["budget_usd"]:
        verdict = "EXCEED" if found["over_budget"] else "are within"
        lines.append(f"Paid and expected costs {verdict} judge.budget_usd = {budget:g}.")
    return lines


def _amounts(row: Row, priced: bool) -> list[str]:
    usd = _range(row["usd"], lambda value: f"{value:.2f}" if value >= 1 else f"{value:.2g}") if priced else "–"
    tokens = [_count(row[name]["expected"]) for name in ("prompt_tokens", "completion_tokens")]
    return [*tokens, usd, _duration(row["seconds"]["expected"])]


def _range(sides: dict[str, float], shown: Any) -> str:
    low, expected, high = (shown(sides[side]) for side in SIDES)
    return expected if low == expected == high else f"{expected} [{low}, {high}]"


def _count(value: float) -> str:
    for unit, size in (("M", 1e6), ("k", 1e4)):
        if value >= size:
            return f"{value / (1e6 if unit == 'M' else 1e3):.3g}{unit}"
    return f"{value:.0f}"


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
