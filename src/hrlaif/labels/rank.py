"""One ranking from all comparisons of a prompt's responses: labels that agree with each other, and more of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from hrlaif.judges.verdict import verdict_of
from hrlaif.labels.select import ResponsePair
from hrlaif.metrics import bradley_terry, preferred
from hrlaif.types import Basis, Evidence, Label, Verdict


def ranked(asked: Sequence[Label], unasked: Sequence[ResponsePair], *, tie_margin: float) -> list[Label]:
    """The judge's labels of one prompt with their probabilities from one Bradley-Terry ranking, and those it implies.

    An unreadable label stays as it is and says nothing. A pair that was not asked about gets a label, which rests on no
    judgement, where readable comparisons connect its two responses; the others get none.
    """
    readable = [label for label in asked if label.verdict is not Verdict.UNREADABLE]
    place: dict[str, int] = {}
    for label in readable:
        place.setdefault(label.first_id, len(place))
        place.setdefault(label.second_id, len(place))
    compared = [(place[label.first_id], place[label.second_id], label.p_first) for label in readable]
    strengths = bradley_terry(compared, len(place))
    rests_on = f"ranked by the prompt's comparisons ({len(readable)})"

    def judged(label: Label, note: str) -> Label:
        p_first = preferred(strengths, place[label.first_id], place[label.second_id])
        evidence = replace(label.evidence, note=note)
        return replace(label, p_first=p_first, verdict=verdict_of(p_first, tie_margin=tie_margin), evidence=evidence)

    labels = [
        label if label.verdict is Verdict.UNREADABLE else judged(label, f"{rests_on}; alone: {label.p_first:.3f}")
        for label in asked
    ]
    part = _parts(readable)
    for first, second in unasked:
        if first.id in part and part[first.id] == part.get(second.id):
            told = [_told(label) for label in readable if {label.first_id, label.second_id} & {first.id, second.id}]
            implied = Label(first.prompt_id, first.id, second.id, 0.5, Verdict.TIE, Basis.JUDGE, Evidence())
            labels.append(judged(implied, f"not asked, {rests_on}; with one of the two: {', '.join(told)}"))
    return labels


def _told(label: Label) -> str:
    return f"{label.first_id} over {label.second_id} {label.p_first:.3f}"


def _parts(labels: Sequence[Label]) -> dict[str, str]:
    """By response id, a name that is the same for all responses that the labels connect."""
    part: dict[str, str] = {}
    for label in labels:
        one, other = (part.setdefault(name, name) for name in (label.first_id, label.second_id))
        part = {name: one if where == other else where for name, where in part.items()}
    return part
