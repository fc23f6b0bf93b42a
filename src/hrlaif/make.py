"""One function per stage that hands it its inputs; the work is in the stages, their order in `pipeline.py`.

Stages that need torch are imported when they run, so that labelling and reports start fast and need none.
"""

from __future__ import annotations

import itertools
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeVar, cast

from hrlaif import artifacts, labels, pairs, prompts, responses, work
from hrlaif.config import Arm
from hrlaif.errors import ConfigError, DataError, GateError
from hrlaif.judges.calibrate import calibrate
from hrlaif.judges.harm_quality import harm_cuts, harm_quality
from hrlaif.models.base import Decoding
from hrlaif.models.endpoints import endpoint_key
from hrlaif.plan import Step
from hrlaif.run import LOCAL_BLOCK, Run
from hrlaif.types import (
    Label,
    Pair,
    Prompt,
    RedTeamCase,
    Response,
    Split,
    Task,
    Verification,
)

Record = TypeVar("Record")
# Agreement with people that a coin reaches on pairs without ties.
CHANCE = 0.5
# `model` or `owner/model`; anything else that names a model is a path.
HUB_NAME = re.compile(r"\w[\w.-]*(/\w[\w.-]*)?")
MODEL_FILES = ("config.json", "adapter_config.json")


def read(run: Run, name: str, record_type: type[Record]) -> list[Record]:
    """All records of one file of the run."""
    return list(artifacts.read_records(run.folder / name, record_type))


def of_split(run: Run, split: Split) -> list[Prompt]:
    """The run's prompts of one split."""
    return [prompt for prompt in read(run, "prompts.jsonl", Prompt) if prompt.split is split]


def make_prompts(run: Run, step: Step) -> None:
    """Load, split and limit the prompts of all sources."""
    loaded = prompts.load(run.config.prompts, seed=run.config.seed)
    # What is of no use is noticed before anything is paid.
    check_categories(run, loaded)
    check_models(run)
    harm_quality(run.config)
    harm_cuts(run.config, run.config.judge)
    by_split = artifacts.count_by(f"{prompt.split.value}" for prompt in loaded)
    # What is attacked for training and what only measures; with its hash two runs or rounds can be compared.
    facts = {"by_split": by_split, "red_team_split": prompts.split_hash(loaded)}
    artifacts.write_records(step.path, loaded, fingerprint=step.fingerprint, **facts)


def check_categories(run: Run, loaded: Sequence[Prompt]) -> None:
    """Stop at a category in the configuration that no pair can have, before anything is spent."""
    # Pairs of the red team carry the task of their attack.
    red_team = {Task.RED_TEAM.value, Task.BENIGN_TRICKY.value}
    run.config.reward.check_categories({prompt.category for prompt in loaded} | red_team)


def check_models(run: Run) -> None:
    """Stop at a model to compare with that cannot be there: no key for its endpoint, no model in its folder."""
    for one in run.config.evaluation.models:
        if one.url:
            endpoint_key(one, os.environ)
        elif not HUB_NAME.fullmatch(one.path) and not any(Path(one.path, name).is_file() for name in MODEL_FILES):
            raise ConfigError(
                f"evaluation.models: {one.path}: no model there (no {' or '.join(MODEL_FILES)}). Name its folder."
            )


def make_sft(run: Run, step: Step) -> None:
    """Fine-tune the starting policy on given responses, with none of the evaluation prompts among them."""
    from hrlaif import sft

    model, seed = run.config.model, run.config.seed
    evaluated = [one for one in prompts.load(run.config.prompts, seed=seed) if one.split is Split.EVALUATION]
    with artifacts.folder_artifact(step.path, fingerprint=step.fingerprint) as out:
        sft.train(
            prompts.demonstrations(run.config.sft, seed=seed, keep_out=evaluated),
            base=run.pretrained_model,
            section=run.config.sft,
            out=out,
            seed=seed,
            device=model.device,
            dtype=model.dtype,
            tensorboard=run.config.report.tensorboard,
        )


def make_calibration(run: Run, step: Step) -> None:
    """Measure the judge on labelled pairs, and stop a run whose judge is no better than a coin."""
    labelled = prompts.calibration_pairs()
    wanted = run.config.judge.calibration_pairs or len(labelled)
    found = calibrate(
        labelled[:: max(1, len(labelled) // wanted)][:wanted],
        run.panel,
        out=run.folder / "calibration_labels.jsonl",
        tie_margin=run.config.labels.tie_margin,
    )
    found["bundled"] = not any(member.url for member in run.config.judge.members)
    artifacts.write_json(step.path, found)
    if run.config.judge.gate and found["agreement_low"] <= CHANCE:
        raise GateError(
            f"the judge {found['judge']} agrees with {found['agreement']:.0%} of {found['pairs']} labelled pairs "
            f"(95 % interval from {found['agreement_low']:.0%}): no better than a coin. Use a better judge "
            "(--judge-url, --judge-model), or set judge.gate = false to go on all the same."
        )
    artifacts.write_manifest(step.path, fingerprint=step.fingerprint)


def make_responses(run: Run, step: Step) -> None:
    """Draw K responses for each training prompt from the starting policy."""
    section = run.config.responses
    sampler, block = run.training_sampler()
    responses.sample(
        of_split(run, Split.TRAIN),
        sampler,
        Decoding(section.temperature, section.top_p, section.max_tokens),
        per_prompt=section.per_prompt,
        seed=run.config.seed,
        block=block,
        path=step.path,
        fingerprint=step.fingerprint,
    )


def make_verifications(run: Run, step: Step) -> None:
    """Read and check the final answers of all responses to checkable prompts."""
    labels.verify(
        of_split(run, Split.TRAIN),
        artifacts.read_records(run.folder / "responses.jsonl", Response),
        judge=run.judge,
        section=run.config.labels,
        path=step.path,
        fingerprint=step.fingerprint,
        total=(artifacts.read_manifest(run.folder / "responses.jsonl") or {}).get("rows"),
    )


def groups(run: Run) -> Iterator[labels.Group]:
    """Training prompts with their responses and verifications, streamed in the order of the responses."""
    by_id = {prompt.id: prompt for prompt in of_split(run, Split.TRAIN)}
    verified = artifacts.read_records(run.folder / "verifications.jsonl", Verification)
    known = next(verified, None)
    answered = artifacts.read_records(run.folder / "responses.jsonl", Response)
    for prompt_id, group in itertools.groupby(answered, key=lambda response: response.prompt_id):
        members = tuple(group)
        found: dict[str, Verification] = {}
        # Verifications are written in the order of the responses, so one look ahead joins the two files.
        while known is not None and any(known.response_id == response.id for response in members):
            found[known.response_id] = known
            known = next(verified, None)
        yield labels.Group(by_id[prompt_id], members, found)


def labelled(run: Run, arm: str) -> Iterator[tuple[labels.Group, list[Label]]]:
    """The same groups, each with an arm's labels, which are written in the same order.

    Raises:
        DataError: Labels are left over, because they are of other prompts or in another order.
    """
    path = run.folder / arm / "labels.jsonl"
    made = artifacts.read_records(path, Label)
    label = next(made, None)
    for group in groups(run):
        found = []
        while label is not None and label.prompt_id == group.prompt.id:
            found.append(label)
            label = next(made, None)
        yield group, found
    if label is not None:
        raise DataError(
            f"{path}: label of prompt {label.prompt_id!r}: the run has no such training prompt, or not in this place. "
            "Labels stand in the order of the responses: make them again."
        )


def make_labels(run: Run, step: Step) -> None:
    """Label one arm's pairs."""
    labels.label(
        groups(run),
        arm=cast("Arm", step.arm),
        judge=run.panel,
        section=run.config.labels,
        seed=run.config.seed,
        path=step.path,
        fingerprint=step.fingerprint,
        total=len(of_split(run, Split.TRAIN)),
    )


def make_pairs(run: Run, step: Step) -> None:
    """Turn an arm's labels, and for hrlaif its red-team cases of all rounds so far, into preference pairs."""
    from hrlaif import red_team

    rounds = [path for path in step.inputs if path.name == "red_team.jsonl"]
    for path in rounds:
        # Asked here and not where the cases are made: they are whole and paid for, and must not be trained on.
        red_team.check_gate(path, max_unjudged=run.config.red_team.max_unjudged)
    arm = str(step.arm)
    slope = judge_slope(run)
    dropped: Counter[str] = Counter()
    by_basis: Counter[str] = Counter()

    def made() -> Iterator[list[Pair]]:
        for group, found in labelled(run, arm):
            texts = {response.id: response for response in group.responses}
            built, lost = pairs.build(
                found, {group.prompt.id: group.prompt}, texts, section=run.config.pairs, slope=slope
            )
            dropped.update(lost)
            yield built
        dropped.update((artifacts.read_manifest(run.folder / arm / "labels.jsonl") or {}).get("left_out", {}))
        if rounds:
            cases = itertools.chain.from_iterable(artifacts.read_records(path, RedTeamCase) for path in rounds)
            safer, lost = red_team.to_pairs(cases, max_opening_share=run.config.pairs.max_opening_share)
            dropped.update({f"red team: {why}": count for why, count in lost.items()})
            yield safer

    with artifacts.Journal(step.path, fingerprint=step.fingerprint) as journal:
        done = journal.items
        for index, built in enumerate(made()):
            by_basis.update(pair.basis.value for pair in built)
            if index >= done:
                journal.append(built)
        journal.finish(dropped=dropped, by_basis=artifacts.count_by(by_basis.elements()), slope=slope)


def judge_slope(run: Run) -> float:
    """What the judge's log-odds are multiplied by in the pairs.

    Raises:
        DataError: It is wanted and was not measured.
    """
    if not run.config.pairs.calibrated:
        return 1.0
    path = run.folder / "calibration.json"
    if (slope := artifacts.read_json(path).get("slope")) is None:
        raise DataError(
            f"pairs.calibrated: {path} has no slope. Delete that file and run again (its calls are in the ledger), or "
            "set pairs.calibrated = false."
        )
    return float(slope)


def make_reward(run: Run, step: Step) -> None:
    """Train an arm's reward model."""
    check_categories(run, read(run, "prompts.jsonl", Prompt))
    _trained(run, step, "reward")


def make_policy(run: Run, step: Step) -> None:
    """Train an arm's policy with PPO against its reward model."""
    _trained(run, step, "policy")


def _trained(run: Run, step: Step, training: str) -> None:
    home = str(step.path.parent.relative_to(run.folder))
    with artifacts.folder_artifact(step.path, fingerprint=step.fingerprint) as out:
        work.train(run, work.Order(training, str(run.folder), home, str(out)), TRAININGS)


def train_reward(run: Run, home: str, out: Path) -> None:
    """Train the reward model of an arm, or of a round, into `out`; of several processes each does its part."""
    from hrlaif import reward

    model = run.config.model
    reward.train(
        read(run, f"{home}/pairs.jsonl", Pair),
        base=run.base_model,
        section=run.config.reward,
        out=out,
        seed=run.config.seed,
        device=model.device,
        dtype=model.dtype,
        tensorboard=run.config.report.tensorboard,
    )


def train_policy(run: Run, home: str, out: Path) -> None:
    """Train the policy of an arm, or of a round, into `out`; of several processes each does its part."""
    from hrlaif import policy

    model = run.config.model
    policy.train(
        of_split(run, Split.TRAIN),
        base=run.base_model,
        reward=run.folder / home / "reward",
        section=run.config.policy,
        out=out,
        seed=run.config.seed,
        device=model.device,
        dtype=model.dtype,
        tensorboard=run.config.report.tensorboard,
    )


# What several processes can do together, by the name that an order gives it.
TRAININGS: work.Trainings = {"reward": train_reward, "policy": train_policy}


def make_answers(run: Run, step: Step) -> None:
    """Answer the evaluation prompts, and some training prompts for the reward figures, with one contestant."""
    section = run.config.evaluation
    train = of_split(run, Split.TRAIN)
    every_nth = max(1, len(train) // max(1, section.train_prompts))
    responses.sample(
        [*of_split(run, Split.EVALUATION), *train[::every_nth][: section.train_prompts]],
        run.contestant(str(step.arm)),
        Decoding(section.temperature, section.top_p, section.max_tokens),
        seed=run.config.seed,
        block=LOCAL_BLOCK,
        path=step.path,
        fingerprint=step.fingerprint,
    )


def make_evaluation(run: Run, step: Step) -> None:
    """Measure every contestant's answers, and sum the measures up."""
    from hrlaif import evaluation

    answers: dict[str, dict[str, Response]] = {
        name: {response.prompt_id: response for response in read(run, f"answers/{name}.jsonl", Response)}
        for name in run.config.contestants
    }
    judge, panel = run.evaluation_judge
    evaluation.evaluate(
        [prompt for prompt in read(run, "prompts.jsonl", Prompt) if prompt.id in answers["start"]],
        answers,
        judge=judge,
        panel=panel,
        scorers={arm: run.scorer(arm) for arm in run.config.arms},
        tie_margin=run.config.labels.tie_margin,
        reasons=run.config.evaluation.reasons,
        harm_cuts=harm_cuts(run.config),
        path=step.path,
        fingerprint=step.fingerprint,
    )
