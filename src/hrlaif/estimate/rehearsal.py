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
from hrlaif.config import BUNDLED, Arm, Config
from hrlaif.estimate.assumptions import Assumptions
from hrlaif.estimate.counting import Asked, CountingModel, Tally
from hrlaif.estimate.imagined import Imagination
from hrlaif.models.base import BUNDLED_NAME, ChatModel, RewardScorer, Sampler
from hrlaif.models.http_sampler import HttpSampler
from hrlaif.models.ledger import Ledger
from hrlaif.plan import plan
from hrlaif.run import HTTP_BLOCK, Contestant, Run
from hrlaif.types import Prompt, Response, Verification

# The stages that ask somebody, or that make what the next of them reads. Calibration has pairs of its own.
CALIBRATION = ("calibration",)
ON_PROMPTS = ("responses", "verifications", "labels", "red_team", "answers", "evaluation")
FINGERPRINT = "estimate"


@dataclass(frozen=True, slots=True)
class Parts:
    """Who is asked in a run, by the part they play."""

    judge: Asked
    evaluation_judge: Asked
    policy: Asked

    @classmethod
    def of(cls, config: Config) -> Parts:
        """The endpoints of a configuration; one without a url is the bundled model's."""
        judge, policy = config.judge, config.responses.endpoint
        apart = config.evaluation.judge
        asked = Asked("judge", judge.model or BUNDLED_NAME, (judge, *judge.replicas))
        return cls(
            judge=asked,
            evaluation_judge=asked
            if apart is None
            else Asked("evaluation judge", apart.model or BUNDLED_NAME, (apart,)),
            policy=Asked(
                "policy",
                policy.model or BUNDLED_NAME,
                (policy,),
                is_paid=bool(policy.url) or config.model.name == BUNDLED,
            ),
        )

    def __iter__(self) -> Iterator[Asked]:
        yield from dict.fromkeys((self.judge, self.evaluation_judge, self.policy))


@dataclass(frozen=True, slots=True)
class Known:
    """What a real run folder holds already: which of its steps are made, and the paid calls."""

    folder: Path
    made: Collection[Path]
    ledger: Ledger | None
    tokens: Callable[[str], int]


class _Rehearsal(Run):
    """A run whose models are imagined."""

    def __init__(self, config: Config, parts: Parts, model: Callable[[Asked, bool], CountingModel]) -> None:
        super().__init__(config)
        self._parts, self._model = parts, model

    @property
    def judge(self) -> ChatModel:
        return self._model(self._parts.judge, True)

    @property
    def evaluation_judge(self) -> ChatModel:
        return self._model(self._parts.evaluation_judge, True)

    def training_sampler(self) -> tuple[Sampler, int]:
        return HttpSampler(self._model(self._parts.policy, False)), HTTP_BLOCK

    def contestant(self, name: Contestant) -> Sampler:
        local = replace(self._parts.policy, is_paid=False)
        return HttpSampler(self._model(local, False), purpose=f"answers/{name}")

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
        smaller = _smaller(config, folder, weight=tally.weight)

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


def _smaller(config: Config, folder: str, *, weight: float) -> Config:
    """The configuration for a sample of the prompts, each standing for `weight` of them."""
    least = math.ceil(config.red_team.min_counter_pairs / weight)
    return config.model_copy(
        update={
            "run_dir": folder,
            "judge": config.judge.model_copy(update={"gate": False}),
            "red_team": config.red_team.model_copy(update={"min_counter_pairs": least}),
        }
    )


def _copy(source: Path, target: Path, ids: Collection[str]) -> None:
    """The records of a finished file that later stages read, for some prompts."""
    if source.name == "responses.jsonl" or source.parent.name == "answers":
        kept = [one for one in artifacts.read_records(source, Response) if one.prompt_id in ids]
        artifacts.write_records(target, kept, fingerprint=FINGERPRINT)
    elif source.name == "verifications.jsonl":
        found = artifacts.read_records(source, Verification)
        # A response's id is its prompt's with a number behind it.
        checked = [one for one in found if one.response_id.rpartition("/")[0] in ids]
        artifacts.write_records(target, checked, fingerprint=FINGERPRINT)
