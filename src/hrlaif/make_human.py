"""The steps that rest on people's votes: what they say of the answers, and the human arm's labels."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hrlaif import artifacts, human_eval, labels
from hrlaif.config import Config
from hrlaif.errors import DataError
from hrlaif.human_eval.items import Item
from hrlaif.judges.calibrate import judge_agreement
from hrlaif.plan import Step
from hrlaif.run import Run
from hrlaif.types import Label, Prompt, Response, Split, Verdict


def training_items(folder: Path, config: Config, *, most_prompts: int = 0) -> list[Item]:
    """The pairs of training responses that people compare: those that the basic arm's judge compares.

    `most_prompts` (0: all) takes that many training prompts evenly from the file.

    Raises:
        DataError: Prompts or responses are not there yet.
    """
    every = artifacts.read_records(folder / "prompts.jsonl", Prompt)
    training = [prompt for prompt in every if prompt.split is Split.TRAIN]
    prompts = {prompt.id: prompt for prompt in artifacts.evenly(training, most_prompts)}
    responses = artifacts.read_records(folder / "responses.jsonl", Response)
    return [
        Item(prompts[prompt_id], first, second, "", "")
        for prompt_id, group in itertools.groupby(responses, key=lambda response: response.prompt_id)
        if prompt_id in prompts
        for first, second in labels.open_pairs(prompts[prompt_id], list(group), config.labels, seed=config.seed)
    ]


def make_ratings(run: Run, step: Step) -> None:
    """Sum up people's votes on the answers that the run has now."""
    answers = {
        f"{name}:{response.id}": response.text
        for name in run.config.contestants
        for response in artifacts.read_records(run.folder / "answers" / f"{name}.jsonl", Response)
    }
    with (
        human_eval.Study(run.folder / human_eval.VOTES) as study,
        artifacts.folder_artifact(step.path, fingerprint=step.fingerprint) as out,
    ):
        found = human_eval.outcomes_of(study, answers)
        artifacts.write_records(out / "labels.jsonl", found.labels, fingerprint=step.fingerprint)
        artifacts.write_records(out / "satisfaction.jsonl", found.satisfaction, fingerprint=step.fingerprint)
        artifacts.write_json(out / "about.json", found.about)


def make_votes(run: Run, step: Step) -> None:
    """Sum people's votes on the training responses up as the human arm's labels, in the order of the responses.

    Raises:
        DataError: Nobody has voted, or people prefer one response on too few pairs.
    """
    path = run.folder / human_eval.TRAINING_VOTES
    collect = (
        f"Collect them with `hrlaif annotate {run.folder} --on training --raters NAME,NAME`, then run the same again; "
        "`--arms` without human goes on without them."
    )
    if not path.exists():
        raise DataError(f"{path}: the human arm learns from people's votes, and there are none yet. {collect}")
    with human_eval.Study(path) as study:
        rated = {one.id: one.text for item in study.items().values() for one in (item.first, item.second)}
        place: dict[str, int] = {}
        current: dict[str, str] = {}
        for response in artifacts.read_records(run.folder / "responses.jsonl", Response):
            place.setdefault(response.prompt_id, len(place))
            if response.id in rated:
                current[response.id] = response.text
        found = human_eval.outcomes_of(study, current)

    by_verdict = Counter(label.verdict for label in found.labels)
    decided, least = by_verdict[Verdict.FIRST] + by_verdict[Verdict.SECOND], run.config.human.min_pairs
    if decided < least:
        raise DataError(
            f"{path}: people prefer one response on {decided} of {found.about['pairs']} pairs (ties "
            f"{by_verdict[Verdict.TIE]}, nobody could say {by_verdict[Verdict.UNREADABLE]}, votes on responses that "
            f"the run no longer has {found.about['stale_votes']}); human.min_pairs asks for {least}. {collect}"
        )
    ordered = sorted(found.labels, key=lambda label: place[label.prompt_id])
    artifacts.write_records(
        step.path,
        ordered,
        fingerprint=step.fingerprint,
        judge="people",
        arm=step.arm,
        left_out={"pair: not rated yet": found.about["pairs"] - found.about["pairs_rated"]},
        people=found.about,
    )


def judge_on_people(run: Run, step: Step) -> dict[str, dict[str, Any]] | None:
    """By arm, how often its labels agree with people's on the same pairs of training responses; None without votes."""
    paths = {arm: run.folder / arm / "labels.jsonl" for arm in run.config.arms}
    if paths.get("human") not in step.inputs:
        return None
    said = {
        frozenset((label.first_id, label.second_id)): label
        for label in artifacts.read_records(paths.pop("human"), Label)
        if label.verdict is not Verdict.UNREADABLE
    }
    found = {arm: judge_agreement(_same_pairs(said, path)) for arm, path in paths.items() if path in step.inputs}
    return {
        arm: {"agreement": one.value, "low": one.low, "high": one.high, "pairs": one.n}
        for arm, one in found.items()
        if one.n
    }


def _same_pairs(said: dict[frozenset[str], Label], path: Path) -> Iterator[tuple[Verdict, Verdict]]:
    """What people said and what a label says, both in the label's own order."""
    for label in artifacts.read_records(path, Label):
        if theirs := said.get(frozenset((label.first_id, label.second_id))):
            is_same = theirs.first_id == label.first_id
            yield theirs.verdict if is_same else theirs.verdict.mirrored, label.verdict
