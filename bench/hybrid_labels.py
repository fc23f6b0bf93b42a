"""Basic against hybrid labels with a real judge, where it is known which response is right.

python bench/hybrid_labels.py --gguf JUDGE.gguf [--math 110] [--choice 50] [--json FILE]

Pairs of a right and a wrong response of published models to one question, out of verifier_math.jsonl and
verifier_mcq.jsonl (schema `verify`) of ../shared/data. Both arms run the stages that a run uses; every call is kept,
so a run that was stopped goes on.
"""

from __future__ import annotations

import argparse
import random
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from claims import Claim, claim, report
from hrlaif import labels
from hrlaif.artifacts import fingerprint, read_records
from hrlaif.config import Arm, LabelsSection
from hrlaif.judges.compare import orders, pooled, votes_of
from hrlaif.labels import Group
from hrlaif.metrics import flip_rate, wilson
from hrlaif.models.base import ChatModel
from hrlaif.types import Cost, Label, Metric, Prompt, Response, Verdict, Verification
from hrlaif.verifiers.calibrate import LabelledResponse
from judges import add_judge_options, judge

SECTION = LabelsSection(pairs_per_prompt=1)


def chosen_groups(path: Path, count: int) -> tuple[list[Group], set[str]]:
    """The `count` questions whose shortest right and wrong responses are shortest; also the ids of right responses."""
    by_question: dict[tuple[str | None, str], list[LabelledResponse]] = defaultdict(list)
    for row in read_records(path, LabelledResponse):
        if row.response.strip():
            by_question[row.question, row.reference].append(row)
    pairs = []
    for rows in by_question.values():
        right, wrong = ([row for row in rows if row.is_correct is is_right] for is_right in (True, False))
        if right and wrong:
            pairs.append([min(side, key=lambda row: (len(row.response), row.id)) for side in (right, wrong)])
    pairs.sort(key=lambda pair: (sum(len(row.response) for row in pair) + len(pair[0].question or ""), pair[0].id))
    return [_group(pair) for pair in pairs[:count]], {pair[0].id for pair in pairs[:count]}


def _group(pair: Sequence[LabelledResponse]) -> Group:
    prompt = pair[0].item()[0]
    responses = [replace(row.item()[1], id=row.id, prompt_id=prompt.id) for row in pair]
    random.Random(prompt.id).shuffle(responses)
    return Group(prompt, tuple(responses), {})


def verified(groups: Sequence[Group], model: ChatModel, folder: Path) -> tuple[list[Group], Cost]:
    """The groups with the final answers read, and what reading them cost."""
    path = folder / "verifications.jsonl"
    prompts: list[Prompt] = [group.prompt for group in groups]
    responses: list[Response] = [response for group in groups for response in group.responses]
    key = fingerprint("hybrid labels", [repr(group) for group in groups])
    labels.verify(prompts, responses, judge=model, section=SECTION, path=path, fingerprint=key)
    found = {one.response_id: one for one in read_records(path, Verification)}
    groups = [replace(one, verifications={r.id: found[r.id] for r in one.responses if r.id in found}) for one in groups]
    return groups, sum((one.cost for one in found.values()), Cost())


def label(groups: Sequence[Group], arm: Arm, model: ChatModel, folder: Path) -> list[Label]:
    """One arm's labels."""
    path = folder / arm / "labels.jsonl"
    path.parent.mkdir(exist_ok=True)
    key = fingerprint(arm, [repr(group) for group in groups])
    labels.label(groups, arm=arm, judge=model, section=SECTION, seed=0, path=path, fingerprint=key, total=len(groups))
    return list(read_records(path, Label))


def share(name: str, points: Iterable[float], target: float | None = None) -> Claim:
    """A share with its Wilson interval."""
    values = list(points)
    return _claim(wilson(sum(values), len(values), name=name), target)


def _claim(metric: Metric, target: float | None = None) -> Claim:
    met = None if target is None else metric.value >= target
    wanted = "" if target is None else f">= {target:g}"
    return Claim(f"{metric.name} (n {metric.n})", metric.value, metric.low, metric.high, "share", wanted, met)


def right_id(one: Label, right: set[str]) -> str:
    """Which of the two is right."""
    return one.first_id if one.first_id in right else one.second_id


def points(one: Label, right: set[str]) -> float:
    """1 where the label names the right response, 0.5 for a tie."""
    chosen = {Verdict.FIRST: one.first_id, Verdict.SECOND: one.second_id}.get(one.verdict)
    return 0.5 if one.verdict is Verdict.TIE else float(chosen == right_id(one, right))


def arm_claims(
    arm: str, made: Sequence[Label], right: set[str], *, pairs: int, extra: Cost, target: float | None
) -> list[Claim]:
    """Accuracy and cost of one arm. A pair without a label counts as wrong."""
    paid = sum((judgement.cost for one in made for judgement in one.evidence.judgements), extra)
    values = [points(one, right) for one in made] + [0.0] * (pairs - len(made))
    decided = [
        value for one, value in zip(made, values, strict=False) if one.verdict in (Verdict.FIRST, Verdict.SECOND)
    ]
    return [
        share(f"{arm}: label is right (a tie counts half)", values, target),
        share(f"{arm}: right, of those that name one", decided),
        claim(f"{arm}: ties", [sum(one.verdict is Verdict.TIE for one in made)], ""),
        claim(
            f"{arm}: unreadable or without a label",
            [pairs - len(made) + sum(one.verdict is Verdict.UNREADABLE for one in made)],
            "",
        ),
        claim(f"{arm}: calls per label", [paid.calls / pairs], ""),
        claim(f"{arm}: tokens per label", [(paid.prompt_tokens + paid.completion_tokens) / pairs], ""),
    ]


def once(one: Label, right: set[str]) -> float:
    """Whether the first of a label's calls alone names the right response."""
    call = one.evidence.judgements[0]
    chosen = {Verdict.FIRST: call.first_id, Verdict.SECOND: call.second_id}.get(call.verdict)
    return 0.5 if call.verdict is Verdict.TIE else float(chosen == right_id(one, right))


def main() -> None:
    """Parse the command line, label, report."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_judge_options(parser, "bench-hybrid-labels")
    parser.add_argument("--data", type=Path, default=Path(__file__).resolve().parents[2] / "shared" / "data")
    parser.add_argument("--math", type=int, default=110)
    parser.add_argument("--choice", type=int, default=50)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    groups, right = chosen_groups(options.data / "verifier_math.jsonl", options.math)
    more, more_right = chosen_groups(options.data / "verifier_mcq.jsonl", options.choice)
    groups, right, pairs = [*groups, *more], right | more_right, len(groups) + len(more)
    with judge(options) as model:
        read, checks = verified(groups, model, options.folder)
        hybrid = label(read, "hrlaif", model, options.folder)
        basic = label(groups, "rlaif", model, options.folder)
    claims = [share("basic, asked once: right", (once(one, right) for one in basic))]
    flips = flip_rate(orders(pooled(votes_of(one)) for one in basic), name="basic: flip rate")
    claims.append(_claim(flips))
    claims += arm_claims("basic", basic, right, pairs=pairs, extra=Cost(), target=None)
    claims += arm_claims("hybrid", hybrid, right, pairs=pairs, extra=checks, target=0.99)
    for task in ("math", "mcq"):
        of_task = {group.prompt.id for group in groups if group.prompt.category == task}
        for arm, made in (("basic", basic), ("hybrid", hybrid)):
            claims.append(share(f"{arm}, {task}", (points(one, right) for one in made if one.prompt_id in of_task)))
    calls = [
        sum((j.cost for one in made for j in one.evidence.judgements), extra).calls
        for made, extra in ((basic, Cost()), (hybrid, checks))
    ]
    claims.append(claim("hybrid calls / basic calls", [calls[1] / calls[0]], "x", at_most=0.2))
    report(claims, options.json)


if __name__ == "__main__":
    main()
