"""What a card says of where data and models come from: who labelled, how good the judge is, what was measured."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from hrlaif import artifacts
from hrlaif.config import BUNDLED, Arm, Config
from hrlaif.types import Pair

BUNDLED_ON_HUB = "HuggingFaceTB/SmolLM2-135M-Instruct"
TO_FILL_IN = "FILL-IN"
"""What stands where only the publisher knows the value."""
METHODS: Mapping[Arm, str] = {
    "rlaif": "RLAIF: a judge model compares every pair",
    "hrlaif": "HRLAIF: rule verifiers where an answer can be checked, a judge model elsewhere, AI red teaming",
    "human": "RLHF: people compare every pair",
}
HOW_LABELLED = {
    "verifier": "a rule read both final answers: one is correct, the other wrong",
    "reasoning": "both final answers are correct; the judge compared the reasoning, with the reference, in both orders",
    "judge": "the judge compared the responses in both orders, and the two probabilities were averaged",
    "red_team": (
        "a response to an attack that was judged harmful, against a safe one (partly rewritten by a model, and judged "
        "again); or a needless refusal against a helpful response"
    ),
    "human": "people compared the responses without knowing where they came from; a tie counts half",
}
# The Hub's names of sizes, by their upper bounds.
_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))


class Kind(NamedTuple):
    """Pairs of one category whose labels rest on the same."""

    category: str
    basis: str
    pairs: int


def composition(pairs: Iterable[Pair]) -> list[Kind]:
    """How many pairs there are by category and basis, in the order of their names."""
    counts = Counter((pair.category, pair.basis.value) for pair in pairs)
    return [Kind(category, basis, n) for (category, basis), n in sorted(counts.items())]


def provenance(run: Path, config: Config, arm: Arm) -> dict[str, Any]:
    """What the cards of an arm's data and models may name; what the run does not hold is None."""
    calibration = _json(run / "calibration.json")
    return {
        "arm": arm,
        "method": METHODS[arm],
        "published_base": base_name(config),
        "is_fine_tuned": bool(config.sft.sources),
        "to_fill_in": TO_FILL_IN,
        "how_labelled": HOW_LABELLED,
        "judge": ", ".join(dict.fromkeys(_judge_name(member.model) for member in config.judge.members)),
        "judge_quality": _share(calibration, "agreement", n=calibration.get("pairs")),
        "people": _people(run, arm),
        "name": config.name,
    }


def base_name(config: Config) -> str:
    """The base model as others find it; a folder of this machine says nothing to them."""
    name = config.model.name
    if name == BUNDLED:
        return BUNDLED_ON_HUB
    return TO_FILL_IN if Path(name).is_absolute() else name


def _judge_name(model: str) -> str:
    """The judge's name without the folder that a server may have it from."""
    return Path(model).name if Path(model).is_absolute() else model or BUNDLED


def size_category(rows: int) -> str:
    """The Hub's name for how many rows there are."""
    return next((name for bound, name in _SIZES if rows < bound), "1M<n<10M")


class Measure(NamedTuple):
    """One measure of the evaluation as a row of a table, and the arm's value as a number."""

    name: str
    start: str
    arm: str
    difference: str
    value: float


def measures(metrics: Mapping[str, Any], arm: str) -> list[Measure]:
    """Start and arm on all evaluation prompts, each number with its 95 % interval and count, from metrics.json."""
    start, *_ = metrics.get("arms") or [""]
    found = metrics.get("metrics", {})
    ours, starts = (found.get(name, {}).get("all", {}) for name in (arm, start))
    differences = metrics.get("differences", {}).get(arm, {}).get("all", {})
    return [
        Measure(
            name.replace("_", " "),
            _shown(starts.get(name)),
            _shown(metric),
            _shown(differences.get(name), is_difference=True),
            metric["value"],
        )
        for name, metric in ours.items()
        # Each arm's own reward model scores on a scale of its own.
        if name != "reward"
    ]


def _shown(metric: Mapping[str, Any] | None, *, is_difference: bool = False) -> str:
    if metric is None:
        return "–"
    is_share = metric["unit"] == "share"
    sign = "+" if is_difference else ""
    value, low, high = (f"{(100 if is_share else 1) * metric[key]:{sign}.1f}" for key in ("value", "low", "high"))
    unit = " points" if is_share and is_difference else " %" if is_share else f" {metric['unit']}".rstrip()
    return f"{value}{unit} ({low} to {high}, n = {metric['n']})"


def _share(facts: Mapping[str, Any], name: str, *, n: object) -> str | None:
    low, high = facts.get(f"{name}_low"), facts.get(f"{name}_high")
    if facts.get(name) is None or low is None or high is None:
        return None
    return f"{100 * facts[name]:.1f} % ({100 * low:.1f} to {100 * high:.1f}, n = {n})"


def _people(run: Path, arm: Arm) -> dict[str, Any] | None:
    """How many people voted and how alike, without their names."""
    about = (artifacts.read_manifest(run / arm / "labels.jsonl") or {}).get("people")
    if not about:
        return None
    alpha = about["agreement"].get("alpha_preference")
    return {
        "raters": len(about["raters"]),
        "flagged": sum(bool(one["flags"]) for one in about["raters"]),
        "votes": about["votes"],
        "pairs": about["pairs_rated"],
        "alpha": f"{alpha['value']:.2f} ({alpha['low']:.2f} to {alpha['high']:.2f})" if alpha else None,
    }


def languages(found: Iterable[str]) -> Sequence[str]:
    """The languages of prompts as the Hub writes them."""
    return sorted({lang.split("-")[0].lower() for lang in found if lang})


def _json(path: Path) -> dict[str, Any]:
    return dict(artifacts.read_json(path)) if path.exists() else {}
