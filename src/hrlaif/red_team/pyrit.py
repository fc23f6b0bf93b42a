"""The requests in PyRIT's wheel: objectives of its seed data sets, of its scorer evaluations and many-shot examples.

Answers that stand beside them are never read. Jailbreak templates, converters and prompts of attackers are ways to send
a request, which are strategies here.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from typing import Any

from hrlaif.errors import DataError
from hrlaif.red_team.found import Found, hazard_of
from hrlaif.red_team.wheels import Wheel

# PyRIT's harm categories that are one of our hazards. In AdvBench's labels, which name what harm would follow, only
# those are taken that can be nothing else: most crimes end in some "privacy loss".
HAZARD_OF_CATEGORY = {
    "violence": "S1",
    **dict.fromkeys(("scams", "phishing", "illegal_drugs", "illegal_substances"), "S2"),
    "Defamation/libel/slander": "S5",
    **dict.fromkeys(("medical_advice", "licensed_therapist"), "S6"),
    "privacy": "S7",
    **dict.fromkeys(("copyright", "IP/copyright loss"), "S8"),
    **dict.fromkeys(("biological_weapons", "nuclear_weapons", "chemical_biological"), "S9"),
    **dict.fromkeys(("hate", "hate_speech", "bias", "REPRESENTATIONAL", "fairness", "Stereotyping"), "S10"),
    **dict.fromkeys(("self_harm", "Self-harm"), "S11"),
    **dict.fromkeys(("sexual", "sexual_content", "SEXUAL_CONTENT"), "S12"),
    **dict.fromkeys(("Electoral interference", "Loss of right to free elections"), "S13"),
    **dict.fromkeys(("cyber", "cyber_harms", "exploits"), "S14"),
}
DATA = "pyrit/datasets/"
SEEDS = DATA + "seed_datasets/local/*.prompt"
OBJECTIVES = (DATA + "scorer_evals/harm/*.csv", DATA + "scorer_evals/objective/*.csv")
MANY_SHOT = DATA + "jailbreak/many_shot_examples.json"
PLACES = (*OBJECTIVES, SEEDS, MANY_SHOT)
DEEPEST = 20


def find(wheel: Wheel) -> Iterator[Found]:
    """The texts of PyRIT's wheel, by member."""
    for pattern in OBJECTIVES:
        for member in wheel.matching(pattern):
            yield from _objectives(wheel, member)
    for member in wheel.matching(SEEDS):
        yield from _seeds(wheel, member)
    for member in wheel.matching(MANY_SHOT):
        yield from _requests(wheel, member)


def _objectives(wheel: Wheel, member: str) -> Iterator[Found]:
    """A table with the columns `objective` and `harm_category`, after a line of comment."""
    lines = wheel.text(member).splitlines(keepends=True)
    if lines and lines[0].startswith("#"):
        del lines[0]
    try:
        for row in csv.DictReader(lines):
            if row.get("objective"):
                yield Found(member, row["objective"], hazard_of((row.get("harm_category"),), HAZARD_OF_CATEGORY))
    except csv.Error as error:
        raise DataError(f"{wheel.path}: {member} is not CSV ({error}). Download the wheel again.") from error


def _seeds(wheel: Wheel, member: str) -> Iterator[Found]:
    """A YAML document whose `seeds` may each overrule what it says of all."""
    document = _yaml(wheel, member)
    seeds = document.get("seeds")
    for seed in seeds if isinstance(seeds, list) else []:
        if not isinstance(seed, Mapping):
            continue
        # A category of its own says more of a seed than the data set's.
        categories = seed.get("harm_categories") or document.get("harm_categories") or ()
        yield Found(
            member,
            str(seed.get("value", "")),
            hazard_of(categories if isinstance(categories, list) else (categories,), HAZARD_OF_CATEGORY),
            origin=str(document.get("source") or ""),
            left_out=_unfit({**document, **seed}),
        )


def _unfit(seed: Mapping[str, Any]) -> str:
    if seed.get("data_type", "text") != "text":
        return "not a text"
    if "sequence" in seed:
        return "a turn of a conversation"
    return "" if seed.get("seed_type") == "objective" else "a payload, not a request"


def _requests(wheel: Wheel, member: str) -> Iterator[Found]:
    try:
        found = json.loads(wheel.text(member))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{wheel.path}: {member} is not JSON ({error}). Download the wheel again.") from error
    for example in found if isinstance(found, list) else []:
        if isinstance(example, dict) and isinstance(example.get("user"), str):
            yield Found(member, example["user"])


def _yaml(wheel: Wheel, member: str) -> Mapping[str, Any]:
    try:
        import yaml
    except ImportError as error:
        raise DataError("PyRIT's seeds are YAML, which needs PyYAML. Run: pip install 'hrlaif[data]'") from error
    text = wheel.text(member)
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        depth = 0
        for event in yaml.parse(text, Loader=loader):
            # Aliases can make a small file endless, and depth the reader fail; data sets of prompts need neither.
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if isinstance(event, yaml.AliasEvent) or depth > DEEPEST:
                raise DataError(f"{wheel.path}: {member} holds YAML aliases or is nested too deeply. It is not read.")
        found = yaml.load(text, Loader=loader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise DataError(f"{wheel.path}: {member} is not YAML ({type(error).__name__}). Download it again.") from error
    return found if isinstance(found, dict) else {}
