"""What the run cost, by purpose and per label, and the settings that repeat it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hrlaif.artifacts import number
from hrlaif.config import dump
from hrlaif.report.data import RunData
from hrlaif.report.layout import Cell, Figure, Panel, Section, Stacks, Table
from hrlaif.report.wording import NONE, count, plain, tidy, title_of


def cost(run: RunData) -> Section:
    """Calls, tokens and price by purpose, and what one label cost in each arm."""
    purposes: Mapping[str, Any] = run.costs.get("by_purpose") or {}
    labels: Mapping[str, Any] = run.costs.get("labels") or {}
    if not purposes and not labels:
        return Section("cost", "Cost", missing="costs.json, which `hrlaif run` writes")
    figures: tuple[Figure, ...] = ()
    tables = []
    if purposes:
        tokens = {name: _tokens(values) for name, values in purposes.items()}
        bars = tuple((tidy(name.replace("_", " "), 28), {"tokens": value}) for name, value in tokens.items())
        caption = (
            f"Tokens (prompt and completion) that model calls used, by purpose: {sum(tokens.values()):,} in all, as "
            "the endpoint counted them."
        )
        if any(tokens.values()):
            panel = Panel("cost", "Tokens by purpose", Stacks(bars, ("tokens",), "tokens"))
            figures = (Figure(caption, (panel,)),)
        tables.append(_table("Model calls by purpose.", "Purpose", purposes))
    if labels:
        tables.append(_table("Labels: what each arm paid.", "Arm", labels))
    return Section("cost", "Cost", figures=figures, tables=tuple(tables))


def _tokens(values: Mapping[str, Any]) -> int:
    return int((number(values.get("prompt_tokens")) or 0) + (number(values.get("completion_tokens")) or 0))


def _table(caption: str, first: str, rows: Mapping[str, Mapping[str, Any]]) -> Table:
    keys = tuple(dict.fromkeys(key for values in rows.values() for key in values))
    cells = tuple(
        (*plain((tidy(name.replace("_", " "), 40),)), *(_amount(key, values.get(key)) for key in keys))
        for name, values in rows.items()
    )
    return Table(caption, (first, *(title_of(key).replace("Usd", "USD") for key in keys)), cells, folded=False)


def _amount(key: str, value: Any) -> Cell:
    found = number(value)
    if found is None:
        return Cell(NONE)
    if "usd" in key:
        return Cell(f"{found:,.4f}" if found < 1 else f"{found:,.2f}")
    return Cell(count(found) if found == int(found) else f"{found:,.2f}")


def settings(run: RunData) -> Section:
    """The resolved configuration, every default written out; not where the run lies, which says nothing about it."""
    return Section(
        "settings",
        "Settings",
        lead=("The resolved configuration of this run, defaults included.",),
        code=dump(run.config.model_copy(update={"run_dir": ""})),
    )
