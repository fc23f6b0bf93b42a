"""How policies are compared, and which models are compared with them."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from hrlaif.config.base import Count, NonNegative, PositiveShare, Section
from hrlaif.config.benchmarks import LM_EVAL, Benchmarks
from hrlaif.config.judge import EndpointSection, JudgeEndpoint

# Folders of a run, which contestants have too, and parts of an estimate.
TAKEN = ("start", "rlaif", "hrlaif", "human", "sft", "answers", "ratings", "figures", "judge", "policy", "attacker")


# Letters that a legend has room for.
LONGEST_NAME = 32


class ContestantSection(EndpointSection):
    """A further model that answers what the start and the arms answer: at an endpoint, or from `path`, a folder or hub
    name that transformers loads. It trains nothing.
    """

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][\w.-]*$", max_length=LONGEST_NAME)]
    path: str = ""

    @model_validator(mode="after")
    def _is_one_model(self) -> ContestantSection:
        if self.name.lower() in TAKEN:
            raise ValueError(f"the name {self.name!r} is taken by the run itself; choose another one")
        if bool(self.url) == bool(self.path):
            raise ValueError(f"{self.name!r} needs either a path or a url")
        return self


class EvaluationSection(Section):
    """How arms are compared, on prompts and on public `benchmarks` (docs/benchmarks.md), with one another and with
    further `models`.

    `train_prompts` adds answers to that many training prompts for the reward figures.
    `reasons` lets the judge write a sentence before each verdict on satisfaction, so that a reader sees why; about a
    hundred tokens dearer per open answer, and only for judges that can write JSON. `harm_calibration` is what `hrlaif
    calibrate harm --out` wrote about the judge: its scores on harm and refusals are cut as fitted there, here and in
    the red team, and harmful rates are corrected for its errors too.
    """

    temperature: NonNegative = 0.0
    top_p: PositiveShare = 1.0
    max_tokens: Count = 256
    train_prompts: Annotated[int, Field(ge=0)] = 64
    reasons: bool = False
    judge: JudgeEndpoint | None = None
    harm_calibration: str = ""
    benchmarks: Benchmarks = ()
    models: tuple[ContestantSection, ...] = ()

    @model_validator(mode="after")
    def _models_can_be_asked(self) -> EvaluationSection:
        # Where a file system does not tell upper from lower case, their answers would be one file.
        names = [one.name.lower() for one in self.models]
        if twice := next((one.name for one in self.models if names.count(one.name.lower()) > 1), None):
            raise ValueError(f"two models are called {twice!r}; give each a name of its own")
        addresses: dict[str, str] = {}
        for one in self.models:
            if one.url and addresses.setdefault(one.model, one.url) != one.url:
                raise ValueError(
                    f"two addresses serve a model {one.model!r}, and paid answers are known by the model's name; serve "
                    "one under another name"
                )
        inside = [one.name for one in self.benchmarks if one.kind == LM_EVAL or one.asked == "loglikelihood"]
        outside = [one.name for one in self.models if one.url]
        if inside and outside:
            raise ValueError(
                f"benchmark {inside[0]!r} compares log-likelihoods, which an endpoint ({outside[0]!r}) does not give; "
                "set mode = 'generative', or give that model as a path"
            )
        return self

    def model(self, name: str | None) -> ContestantSection | None:
        """The further model of this name; None for the start and the arms."""
        return next((one for one in self.models if one.name == name), None)
