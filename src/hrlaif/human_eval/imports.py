"""Votes that were cast in Argilla or Label Studio, as votes of the study.

Argilla: the list that `dataset.records.to_json` writes, `{"id", "fields", "responses": {question: [{"value",
"user_id"}]}}`. Label Studio: the export "JSON", `{"id", "data", "annotations": [{"completed_by", "result": [{"type",
"from_name", "value"}]}]}`.

A record is known by its two texts (and, where those occur twice, its item number or request); of the two fields that
hold them, the one whose name sorts first is A or left. A preference is a pairwise selection, a label or choice that
names a side, or a ranking of the two. A question with `satisf` in its name that ends in the name of a side is
satisfaction, one with `flaw` or `reason` is why not.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hrlaif.artifacts import read_json
from hrlaif.errors import ConfigError, DataError
from hrlaif.human_eval.items import Item
from hrlaif.human_eval.records import Ballot, Flaw, Rating
from hrlaif.human_eval.store import Study
from hrlaif.types import Satisfaction, Verdict

_LEFT = frozenset({"left", "a", "1", "first"})
_RIGHT = frozenset({"right", "b", "2", "second"})
_TIE = frozenset({"tie", "both", "equal", "same", "neither", "c"})
_YES = frozenset({"yes", "true", "satisfied", "1"})
_NO = frozenset({"no", "false", "not satisfied", "unsatisfied", "0"})


@dataclass(frozen=True, slots=True)
class Answered:
    """One person's answers to one record of another tool."""

    record: str
    rater: str
    fields: Mapping[str, str]
    answers: Mapping[str, Any]


def import_votes(study: Study, path: Path, source: str) -> str:
    """Add the file's votes and say how many, of whom, and what was left out. The same file again adds nothing.

    Raises:
        ConfigError: `source` is no tool that is known.
        DataError: The file is not of that tool's form, or no record of it is about this study's pairs.
    """
    if source not in _READERS:
        raise ConfigError(f"--from: {source!r} is none of {', '.join(_READERS)}.")
    rows = read_json(path)
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise DataError(f"{path}: a list of records is expected: export from {source} as JSON.")
    items = _by_texts(study.items())
    found: list[tuple[Answered, int, Verdict, Rating, Rating, bool]] = []
    left_out: Counter[str] = Counter()
    for answered in _READERS[source](rows, path):
        matched = _match(answered, items)
        if matched is None:
            left_out["about no pair of this study, or about more than one"] += 1
            continue
        number, names, is_swapped = matched
        verdict = _preference(answered.answers, names)
        if verdict is None:
            left_out["without a preference"] += 1
            continue
        ratings = [_rating(answered.answers, side) for side in names]
        if is_swapped:
            verdict = verdict.mirrored
            ratings.reverse()
        found.append((answered, number, verdict, ratings[0], ratings[1], is_swapped))
    if not found:
        why = "; ".join(f"{count} {reason}" for reason, count in left_out.items()) or "nobody has answered"
        raise DataError(f"{path}: no vote to take over: {why}.")
    names_of = sorted({f"{source}:{answered.rater}" for answered, *_ in found})
    raters = study.raters_without_links(names_of)
    before = len(study.votes())
    study.cast([_ballot(raters[f"{source}:{one[0].rater}"], source, *one) for one in found])
    parts = [f"{len(study.votes()) - before} new votes of {len(found)}, from {len(names_of)} raters"]
    return "; left out: ".join(
        [*parts, *([", ".join(f"{n} {why}" for why, n in left_out.items())] if left_out else [])]
    )


def _ballot(
    rater: int,
    source: str,
    answered: Answered,
    number: int,
    verdict: Verdict,
    first: Rating,
    second: Rating,
    is_swapped: bool,
) -> Ballot:
    said = json.dumps([source, answered.record, answered.rater, answered.answers], sort_keys=True, default=str)
    vote_id = hashlib.sha256(said.encode("utf-8", "replace")).hexdigest()[:32]
    return Ballot(vote_id, rater, number, verdict, first, second, 0.0, source, is_swapped)


def _argilla(rows: Sequence[Mapping[str, Any]], path: Path) -> Iterator[Answered]:
    for index, row in enumerate(rows):
        fields, responses = row.get("fields"), row.get("responses")
        if not isinstance(fields, dict) or not isinstance(responses, dict):
            raise DataError(
                f"{path}: record {index}: no 'fields' and 'responses', which Argilla's records.to_json writes."
            )
        by_user: dict[str, dict[str, Any]] = {}
        for question, given in responses.items():
            for one in given if isinstance(given, list) else ():
                if isinstance(one, dict):
                    by_user.setdefault(str(one.get("user_id")), {})[question] = one.get("value")
        record = str(row.get("id", index))
        texts = {**_texts(fields), "item": record}
        yield from (Answered(record, user, texts, answers) for user, answers in by_user.items())


def _label_studio(rows: Sequence[Mapping[str, Any]], path: Path) -> Iterator[Answered]:
    for index, row in enumerate(rows):
        data, annotations = row.get("data"), row.get("annotations")
        if not isinstance(data, dict) or not isinstance(annotations, list):
            raise DataError(
                f"{path}: task {index}: no 'data' and 'annotations'. Export from Label Studio as JSON, not as JSON-MIN."
            )
        for annotation in annotations:
            if not isinstance(annotation, dict) or annotation.get("was_cancelled"):
                continue
            answers: dict[str, Any] = {}
            for result in annotation.get("result") or ():
                value = result.get("value") if isinstance(result, dict) else None
                if isinstance(value, dict):
                    kind = str(result.get("type"))
                    name = str(result.get("from_name", kind))
                    answers[name] = value.get("selected") if kind == "pairwise" else value.get(kind)
            by = annotation.get("completed_by")
            rater = by.get("email") or by.get("id") if isinstance(by, dict) else by
            yield Answered(str(row.get("id", index)), str(rater), _texts(data), answers)


_READERS = {"argilla": _argilla, "label-studio": _label_studio}


def _texts(fields: Mapping[str, Any]) -> dict[str, str]:
    return {name: str(value) for name, value in fields.items() if isinstance(value, (str, int))}


def _by_texts(items: Mapping[int, Item]) -> dict[frozenset[str], list[tuple[int, Item]]]:
    found: dict[frozenset[str], list[tuple[int, Item]]] = {}
    for number, item in items.items():
        found.setdefault(frozenset((_plain(item.first.text), _plain(item.second.text))), []).append((number, item))
    return found


def _match(
    answered: Answered, items: Mapping[frozenset[str], list[tuple[int, Item]]]
) -> tuple[int, tuple[str, str], bool] | None:
    """The item, the names of the two fields that hold its responses, and whether its second is the first of these."""
    fields = {name: _plain(text) for name, text in sorted(answered.fields.items())}
    names = list(fields)
    for position, left in enumerate(names):
        for right in names[position + 1 :]:
            able = items.get(frozenset((fields[left], fields[right])), [])
            others = {fields[name] for name in names if name not in (left, right)}
            if len(able) > 1:
                able = [
                    (number, item)
                    for number, item in able
                    if answered.fields.get("item") == str(number) or _plain(item.prompt.question) in others
                ]
            if len(able) == 1:
                number, item = able[0]
                return number, (left, right), fields[left] != _plain(item.first.text)
    return None


def _plain(text: str) -> str:
    return " ".join(text.split())


def _preference(answers: Mapping[str, Any], names: tuple[str, str]) -> Verdict | None:
    for name, value in answers.items():
        if re.search("satisf|flaw|reason", name.lower()):
            continue
        if (verdict := _verdict(value, names)) is not None:
            return verdict
    return None


def _verdict(value: Any, names: tuple[str, str]) -> Verdict | None:
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if isinstance(value, list):
        return _ranked(value, names)
    said = str(value).strip().lower()
    sides = ((_LEFT, names[0], Verdict.FIRST), (_RIGHT, names[1], Verdict.SECOND))
    for words, field, verdict in sides:
        if said in words or said == field.lower():
            return verdict
    return Verdict.TIE if said in _TIE else None


def _ranked(value: Sequence[Any], names: tuple[str, str]) -> Verdict | None:
    """A ranking of the two: names in order, or `{"value", "rank"}`, where equal ranks tie."""
    ranks: dict[Verdict, int] = {}
    for position, one in enumerate(value):
        name, rank = (one.get("value"), one.get("rank", position)) if isinstance(one, dict) else (one, position)
        verdict = _verdict(name, names)
        if verdict in (Verdict.FIRST, Verdict.SECOND) and isinstance(rank, int):
            ranks[verdict] = rank
    if len(ranks) < 2:
        return None
    if len(set(ranks.values())) == 1:
        return Verdict.TIE
    return min(ranks, key=lambda verdict: ranks[verdict])


def _rating(answers: Mapping[str, Any], field: str) -> Rating:
    """What the answers say of the response in this field; a question belongs to the side that its name ends in."""
    side = re.split(r"[_\- ]", field.lower())[-1]
    words = next((words for words in (_LEFT, _RIGHT) if side in words), frozenset({side}))
    mine = {name.lower(): value for name, value in answers.items() if re.split(r"[_\- ]", name.lower())[-1] in words}
    said = [value for name, value in mine.items() if "satisf" in name]
    value = said[0][0] if said and isinstance(said[0], list) and said[0] else said[0] if said else None
    plain = str(value).strip().lower()
    if plain in _YES:
        return Rating(Satisfaction.YES)
    if plain not in _NO:
        return Rating(Satisfaction.UNREADABLE)
    ticked = {
        str(one).strip().lower().replace(" ", "_").replace("-", "_")
        for name, value in mine.items()
        if re.search("flaw|reason", name)
        for one in (value if isinstance(value, list) else [value])
    }
    return Rating(Satisfaction.NO, tuple(flaw for flaw in Flaw if flaw.value in ticked))
