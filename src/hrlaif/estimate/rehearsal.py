"""A run in a temporary folder whose models are imagined: the stages make it as they make a real one."""

from __future__ import annotations

import contextlib
import io
import math
import tempfile
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from hrlaif import artifacts, pipeline
from hrlaif.config import BUNDLED, JUDGED_KINDS, Arm, Config, ContestantSection, EndpointSection
from hrlaif.estimate.assumptions import Assumptions
from hrlaif.estimate.counting import Asked, CountingModel, Tally
from hrlaif.estimate.imagined import Imagination
from hrlaif.models.base import BUNDLED_NAME, Calls, RewardScorer, Sampler
from hrlaif.models.http_sampler import HttpSampler
from hrlaif.plan import plan
from hrlaif.run import HTTP_BLOCK, OpenModel, Run
from hrlaif.types import BenchmarkItem, Prompt, RedTeamCase, Response, Split, Verification

# The stages that ask somebody, or that make what the next of them reads. Calibration has pairs of its own.
CALIBRATION = ("calibration",)
ON_PROMPTS = ("responses", "verifications", "labels", "red_team", "regression", "answers", "evaluation")
BENCHMARKS = ("benchmark_items", "benchmarks")
FINGERPRINT = "estimate"


@dataclass(frozen=True, slots=True)
class Parts:
    """Who is asked in a run, by the part they play: the judge, other models of its panel, the evaluation's, the
    attacker, the policy.

    A model that plays two parts at one address is named by the first.
    """

    judging: tuple[Asked, ...]
    policy: Asked
    others: tuple[Asked, ...] = ()

    @classmethod
    def of(cls, config: Config) -> Parts:
        """The endpoints of a configuration; one without a url is the bundled model's."""
        judge, apart, policy = config.judge, config.evaluation.judge, config.responses.endpoint
        attacker = config.red_team.attacker
        named = [("judge", (judge, *judge.replicas))]
        named += [(f"panel: {member.model}", judge.endpoints(member)) for member in judge.members]
        named += [("evaluation judge", (apart,))] if apart is not None else []
        named += [("attacker", (attacker,))] if attacker.url and config.red_team.adaptive else []
        found: dict[tuple[str, str], Asked] = {}
        for part, sections in named:
            first = sections[0]
            found.setdefault((first.url, first.model), Asked(part, first.model or BUNDLED_NAME, sections))
        is_paid = bool(policy.url) or config.model.name == BUNDLED
        others = tuple(_asked(one) for one in config.evaluation.models if one.url)
        return cls(
            tuple(found.values()), Asked("policy", policy.model or BUNDLED_NAME, (policy,), is_paid=is_paid), others
        )

    def judge_at(self, section: EndpointSection) -> Asked:
        """Who answers at an endpoint that judges."""
        address = (section.url, section.model)
        return next(one for one in self.judging if (one.sections[0].url, one.sections[0].model) == address)

    def __iter__(self) -> Iterator[Asked]:
        yield from (*self.judging, self.policy, *self.others)


def _asked(section: ContestantSection) -> Asked:
    """A further model of the evaluation; one from a path makes no calls."""
    return Asked(section.name, section.model or section.path, (section,), is_paid=bool(section.url))


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of the real run: its training prompts, which steps its folder holds, and the paid calls."""

    folder: Path
    made: Collection[Path]
    ledger: Calls | None
    train_prompts: int
    tokens: Callable[[str], int]


class _Rehearsal(Run):
    """A run whose models are imagined."""

    def __init__(self, config: Config, parts: Parts, model: Callable[[Asked, bool], CountingModel]) -> None:
        super().__init__(config)
        self._parts, self._model = parts, model

    @property
    def _judging(self) -> OpenModel:
        return lambda sections: self._model(self._parts.judge_at(sections[0]), True)

    def training_sampler(self) -> tuple[Sampler, int]:
        return HttpSampler(self._model(self._parts.policy, False)), HTTP_BLOCK

    def trained(self, policy: Path | None) -> Sampler:
        local = replace(self._parts.policy, is_paid=False)
        return HttpSampler(self._model(local, False), purpose=f"answers/{policy.parent.name if policy else 'start'}")

    def other(self, section: ContestantSection) -> Sampler:
        return HttpSampler(self._model(_asked(section), False), purpose=f"answers/{section.name}")

    def scorer(self, arm: Arm) -> RewardScorer:
        return _NoScorer()


class _NoScorer:
    def score(self, conversations: object) -> list[float]:
        return [0.0] * len(list(conversations))  # type: ignore[call-overload]


def rehearse(
    config: Config,
    prompts: Sequence[Prompt],
    assumed: Assumptions,
    *,
    stages: Collection[str],
    known: Known,
    tally: Tally,
) -> None:
    """Run stages over these prompts, each of which stands for `tally.weight`, and tally what they ask.

    What the known folder holds is used: finished stages are not run, their records for these prompts are read.
    """
    imagination = Imagination(assumed, prompts, tokens=known.tokens)
    with tempfile.TemporaryDirectory(prefix="hrlaif-estimate-") as folder:
        sampled = sum(prompt.split is Split.TRAIN for prompt in prompts)
        smaller = _smaller(config, folder, weight=tally.weight, share=sampled / max(1, known.train_prompts))

        def model(asked: Asked, is_judge: bool) -> CountingModel:
            imagine = imagination.reply if is_judge else imagination.answer
            return CountingModel(asked, imagine, tally=tally, ledger=known.ledger, tokens=known.tokens)

        run = _Rehearsal(smaller, Parts.of(config), model)
        artifacts.write_records(run.folder / "prompts.jsonl", prompts, fingerprint=FINGERPRINT)
        ids = {prompt.id for prompt in prompts}
        for step in plan(pipeline.STAGES, smaller):
            if step.stage.name not in stages:
                continue
            name = step.path.relative_to(run.folder)
            if known.folder / name in known.made:
                _copy(known.folder / name, step.path, ids)
                continue
            tally.stage = step.title
            # The stages show progress, of work that nobody does.
            with contextlib.redirect_stderr(io.StringIO()):
                step.stage.make(run, replace(step, fingerprint=FINGERPRINT))


def _smaller(config: Config, folder: str, *, weight: float, share: float) -> Config:
    """The configuration for a `share` of the training prompts, of which each stands for `weight` of its kind."""
    least = math.ceil(config.red_team.min_counter_pairs / weight)
    # 0 would lift the limit; one call is no comparison.
    calls = max(1, round(share * config.labels.max_calls)) if config.labels.max_calls else 0
    # The other benchmarks ask the policy alone, which is on this machine.
    judged = tuple(one for one in config.evaluation.benchmarks if one.kind in JUDGED_KINDS)
    return config.model_copy(
        update={
            "run_dir": folder,
            "evaluation": config.evaluation.model_copy(update={"benchmarks": judged}),
            "judge": config.judge.model_copy(update={"gate": False}),
            "labels": config.labels.model_copy(update={"max_calls": calls}),
            "red_team": config.red_team.model_copy(update={"min_counter_pairs": least}),
        }
    )


def _copy(source: Path, target: Path, ids: Collection[str]) -> None:
    """The records of a finished file that later stages read, for some prompts."""
    if source.name == "responses.jsonl" or source.parent.name == "answers":
        kept = [one for one in artifacts.read_records(source, Response) if one.prompt_id in ids]
        artifacts.write_records(target, kept, fingerprint=FINGERPRINT)
    elif source.name == "red_team.jsonl":
        cases = [one for one in artifacts.read_records(source, RedTeamCase) if one.attack.prompt_id in ids]
        artifacts.write_records(target, cases, fingerprint=FINGERPRINT)
    elif source.name == "benchmark_items.jsonl":
        items = [one for one in artifacts.read_records(source, BenchmarkItem) if one.kind in JUDGED_KINDS]
        artifacts.write_records(target, items, fingerprint=FINGERPRINT)
    elif source.name == "verifications.jsonl":
        found = artifacts.read_records(source, Verification)
        # A response's id is its prompt's with a number behind it.
        checked = [one for one in found if one.response_id.rpartition("/")[0] in ids]
        artifacts.write_records(target, checked, fingerprint=FINGERPRINT)
