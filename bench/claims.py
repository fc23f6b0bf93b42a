"""What a benchmark claims: a value with its range, a target, and whether it was met."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median


@dataclass(frozen=True)
class Claim:
    """One measured number; `target` reads like "<= 2" and `met` is None where nothing is promised."""

    name: str
    value: float
    low: float
    high: float
    unit: str
    target: str = ""
    met: bool | None = None


def claim(
    name: str,
    values: Sequence[float],
    unit: str,
    *,
    at_most: float | None = None,
    at_least: float | None = None,
    worst: Callable[[Sequence[float]], float] = median,
) -> Claim:
    """The median (or whatever `worst` takes) of repeated measurements with their range, against a bound on it."""
    value = worst(values)
    target, met = "", None
    if at_most is not None:
        target, met = f"<= {at_most:g}", value <= at_most
    elif at_least is not None:
        target, met = f">= {at_least:g}", value >= at_least
    return Claim(name, value, min(values), max(values), unit, target, met)


def machine() -> str:
    """The machine in a few words."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [
            line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")
        ]
        cpu = names[0] if names else cpu
    return f"{cpu}, {os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}"


def report(claims: Sequence[Claim], json_path: Path | None) -> None:
    """Print the claims as a table and write them where asked."""
    print(machine())
    print(f"{'claim':<62} {'value':>10} {'low':>10} {'high':>10} {'unit':<10} {'target':<10} met")
    for one in claims:
        met = {True: "yes", False: "NO", None: ""}[one.met]
        numbers = " ".join(f"{number:>10.4g}" for number in (one.value, one.low, one.high))
        print(f"{one.name:<62} {numbers} {one.unit:<10} {one.target:<10} {met}")
    if json_path is not None:
        content = {"machine": machine(), "claims": [asdict(one) for one in claims]}
        json_path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
