"""The sections of a configuration: frozen, typed, every key with its range; an unknown key is an error."""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated, ClassVar, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from hrlaif import storage
from hrlaif.config.base import Count, NonNegative, Positive, PositiveShare, Section, Share
from hrlaif.config.evaluation import EvaluationSection
from hrlaif.config.human import HumanSection
from hrlaif.config.judge import EndpointSection, JudgeSection
from hrlaif.config.red_team import RedTeamSection
from hrlaif.config.scale import Scaled
from hrlaif.errors import ConfigError
from hrlaif.types import Basis, Split, Task

BUNDLED = "bundled"
PROMPT_FIELDS = ("id", "prompt", "messages", "category", "task", "reference", "choices", "lang", "split", "hazard")
BASES = tuple(basis.value for basis in Basis)
CATEGORY = "category:"


class ModelSection(Section):
    """The starting policy: `bundled`, a folder, or a hub name that transformers loads."""

    name: Annotated[str, Field(min_length=1)] = BUNDLED
    device: str = "auto"
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"


class PromptSource(Section):
    """One file or dataset folder of prompts; `columns` maps our fields to the source's column names.

    A column may be nested (`answer.value`), `prompt` and `choices` may be several (`"A, B, C, D"`), and "" leaves a
    field unread. `task`, `category`, `lang` and `split` set here apply to every row that does not carry its own.
    `limit` (0: all) is taken evenly by category.
    """

    fields: ClassVar[tuple[str, ...]] = PROMPT_FIELDS

    path: str = BUNDLED
    columns: dict[str, str] = Field(default_factory=dict)
    task: Task | None = None
    category: str | None = None
    lang: str | None = None
    split: Split | None = None
    limit: Annotated[int, Field(ge=0)] = 0

    @field_validator("path")
    @classmethod
    def _no_password(cls, path: str) -> str:
        if told := storage.secret_in(path):
            raise ValueError(told)
        return path

    @field_validator("columns")
    @classmethod
    def _fields_are_ours(cls, columns: dict[str, str]) -> dict[str, str]:
        if unknown := [name for name in columns if name not in cls.fields]:
            raise ValueError(f"unknown field {unknown[0]!r}; the fields to map are {', '.join(cls.fields)}")
        return columns


class PromptsSection(Section):
    """Where prompts come from. `train` and `evaluation` limit how many are used (0: all), taken evenly by category."""

    sources: tuple[PromptSource, ...] = (PromptSource(),)
    evaluation_share: Share = 0.2
    train: Annotated[int, Field(ge=0)] = 0
    evaluation: Annotated[int, Field(ge=0)] = 0


class ResponsesSection(Section):
    """How training responses are drawn. `endpoint.url` samples from a server (vLLM) instead of the local model."""

    per_prompt: Annotated[int, Field(ge=2)] = 4
    temperature: NonNegative = 1.0
    top_p: PositiveShare = 1.0
    max_tokens: Count = 256
    endpoint: EndpointSection = EndpointSection()


class LabelsSection(Section):
    """How pairs are labelled.

    `tie_margin`: a mean probability within this distance of 0.5 is a tie. `verifier_probability`: the soft label of
    a pair that the verifier decided. `solve_times` > 0 lets the judge solve checkable prompts without a reference;
    a majority of at least `solve_majority` becomes the reference. `max_calls` (0: no limit) is how many preference
    calls an arm may make, dealt out evenly over the prompts. With `ranking`, all comparisons of a prompt's responses
    become one ranking, which also labels the pairs that were not asked about.
    """

    pairs_per_prompt: Count = 3
    max_calls: Annotated[int, Field(ge=0)] = 0
    ranking: bool = False
    tie_margin: Annotated[float, Field(ge=0, lt=0.5)] = 0.05
    verifier_probability: Annotated[float, Field(gt=0.5, le=1)] = 0.99
    answer_check: bool = True
    solve_times: Annotated[int, Field(ge=0)] = 0
    solve_majority: Share = 0.6
    solve_max_tokens: Count = 512


class PairsSection(Section):
    """Which labels become pairs, and with which soft label.

    With `calibrated`, a judge's probability p becomes `sigmoid(slope * logit p)`, with the slope that calibration.json
    found on labelled pairs, and `min_probability` is asked of the result.
    """

    min_probability: Annotated[float, Field(ge=0.5, le=1)] = 0.5
    calibrated: bool = False
    max_opening_share: Share = 0.05


class LoraSection(Section):
    """Low-rank adapters; `rank` 0 trains all weights.

    `layers` is how many layers, counted from the top, get an adapter (0: all). With fewer, PPO computes the layers
    below once per response for policy, critic, reference and reward model together. `gradient_checkpointing` computes
    each layer again for its gradient instead of keeping it: less memory, about a third more time, the same result.
    """

    rank: Annotated[int, Field(ge=0)] = 16
    layers: Annotated[int, Field(ge=0)] = 0
    alpha: Positive = 32.0
    dropout: Share = 0.0
    gradient_checkpointing: bool = False


class EpochsSection(Section):
    """What trainings in epochs share. `held_out` is the share of the data that only measures the result.

    `batch_tokens` is how many tokens are in memory at once (0: chosen for the device); it changes no result.
    """

    lora: LoraSection = LoraSection()
    epochs: Count = 1
    learning_rate: Positive = 2e-4
    max_tokens: Count = 1024
    held_out: Share = 0.15
    max_grad_norm: Positive = 1.0
    batch_tokens: Annotated[int, Field(ge=0)] = 0
    checkpoint_every: Count = 10


class SftSource(PromptSource):
    """One file or dataset folder of prompts with the response to learn: `response`, or a last assistant's turn."""

    fields: ClassVar[tuple[str, ...]] = (*PROMPT_FIELDS, "response")

    path: Annotated[str, Field(min_length=1)]

    @field_validator("path")
    @classmethod
    def _has_responses(cls, path: str) -> str:
        if path == BUNDLED:
            raise ValueError("the bundled prompts come without responses; name a file or a dataset folder")
        return path


class SftSection(EpochsSection):
    """Supervised fine-tuning before everything else; left out while `sources` is empty."""

    sources: tuple[SftSource, ...] = ()
    examples_per_step: Count = 16
    held_out: Share = 0.05


class EarlyStopSection(Section):
    """Looks at the held-out loss every so many steps (0: never) and keeps the best weights.

    The training ends after `patience` looks in a row that found nothing better.
    """

    every: Annotated[int, Field(ge=0)] = 0
    patience: Count = 3


class RewardSection(EpochsSection):
    """The reward model's training. `held_out` is the share of prompts whose pairs only measure it.

    `weights` by basis, or by category as `"category:math"`: a pair's weight is the product, 1 for what is not named.
    `margin` by basis is the lead in score that the chosen response is to have beyond what its label asks for.
    """

    pairs_per_step: Count = 16
    centring: NonNegative = 0.01
    weights: dict[str, NonNegative] = Field(default_factory=dict)
    margin: dict[str, NonNegative] = Field(default_factory=dict)
    early_stop: EarlyStopSection = EarlyStopSection()

    @field_validator("weights", "margin")
    @classmethod
    def _names_are_known(cls, table: dict[str, float], info: ValidationInfo) -> dict[str, float]:
        may_be_category = info.field_name == "weights"
        for name in table:
            if name not in BASES and not (may_be_category and name.removeprefix(CATEGORY) not in ("", name)):
                also = f', or "{CATEGORY}NAME"' if may_be_category else ""
                raise ValueError(f"unknown name {name!r}; known are {', '.join(BASES)}{also}")
        return table

    @model_validator(mode="after")
    def _something_is_held_out(self) -> RewardSection:
        if self.early_stop.every and not self.held_out:
            raise ValueError("early_stop needs held-out pairs; set held_out above 0, or early_stop.every to 0")
        return self

    def check_categories(self, known: Collection[str]) -> None:
        """Compare the categories that have a weight with those that there are.

        Raises:
            ConfigError: One is not among them.
        """
        named = [name.removeprefix(CATEGORY) for name in self.weights if name.startswith(CATEGORY)]
        if unknown := [name for name in named if name not in known]:
            raise ConfigError(
                f"reward.weights: no prompt has the category {unknown[0]!r}; there are {', '.join(sorted(known))}."
            )


class MixSection(Section):
    """What a whole response is paid: the weights of the reward model's score, of the verifier and of length.

    The verifier pays `correct`, `unreadable` or `wrong` for responses to checkable prompts with a reference. `length`
    is taken for each token beyond `length_target`.
    """

    reward_model: NonNegative = 1.0
    verifier: NonNegative = 0.0
    correct: float = 1.0
    unreadable: float = 0.0
    wrong: float = -1.0
    length: NonNegative = 0.0
    length_target: Annotated[int, Field(ge=0)] = 0


class PolicySection(Section):
    """PPO. Lengths in tokens, KL in nats; see docs/method.md for the formulas.

    `advantages`: by a critic (`gae`), or from the `samples_per_prompt` responses to one prompt (`rloo`, `grpo`).
    `critic`: a head on the policy's trunk (`shared`) or on an adapter of its own. Scores are clipped to `score_clip`,
    then normalised. `stop_kl` (nats per token) ends a step's updates once the policy has moved that far from the one
    that made the rollouts; 0 never does. `kl_target_nats` above 0 adapts `kl_weight` to hold that KL per response.
    `batch_tokens` is how many tokens are in memory at once (0: chosen for the device). Every `measure_every` steps and
    at the end, `held_out` prompts (at most a tenth of all) measure the policy; `keep` says which one is kept.
    After `warmup_steps` the learning rate falls to 0 (`schedule = "linear"`) or stays. `endpoint.url` samples responses
    from a vLLM server that is given each step's adapter in `adapter_dir` (empty: beside its checkpoints).
    """

    lora: LoraSection = LoraSection()
    mix: MixSection = MixSection()
    advantages: Literal["gae", "rloo", "grpo"] = "gae"
    critic: Literal["shared", "adapter"] = "shared"
    steps: Count = 50
    rollouts: Count = 64
    samples_per_prompt: Count = 1
    minibatch: Count = 16
    epochs: Count = 1
    learning_rate: Positive = 1e-5
    warmup_steps: Annotated[int, Field(ge=0)] = 0
    schedule: Literal["linear", "constant"] = "linear"
    max_tokens: Count = 256
    max_prompt_tokens: Count = 1024
    temperature: Positive = 1.0
    kl_weight: NonNegative = 0.05
    kl_target_nats: NonNegative = 0.0
    discount: Share = 1.0
    gae_lambda: Share = 1.0
    clip: Positive = 0.2
    value_clip: Positive = 0.2
    value_weight: NonNegative = 0.5
    max_grad_norm: Positive = 1.0
    score_clip: Positive = 5.0
    score_normalise: Literal["running", "batch", "none"] = "running"
    stop_kl: NonNegative = 0.02
    batch_tokens: Annotated[int, Field(ge=0)] = 0
    no_eos_penalty: NonNegative = 1.0
    held_out: Annotated[int, Field(ge=0)] = 32
    measure_every: Count = 10
    keep: Literal["best", "last"] = "best"
    checkpoint_every: Count = 10
    endpoint: EndpointSection = EndpointSection()
    adapter_dir: str = ""

    @model_validator(mode="after")
    def _parts_fit(self) -> PolicySection:
        if self.rollouts % self.samples_per_prompt:
            raise ValueError(
                f"rollouts ({self.rollouts}) must be a multiple of samples_per_prompt ({self.samples_per_prompt})"
            )
        if self.advantages != "gae" and self.samples_per_prompt < 2:
            raise ValueError(
                f"advantages = {self.advantages!r} compares the responses to one prompt; set samples_per_prompt to 2 "
                "or more (4 is usual)"
            )
        if self.critic == "adapter" and not self.lora.rank:
            raise ValueError("critic = 'adapter' needs adapters; set lora.rank above 0, or critic = 'shared'")
        if self.endpoint.url and not self.lora.rank:
            raise ValueError(
                "endpoint samples from a server that is given adapters, not whole models; set lora.rank above 0, or "
                "leave endpoint.url empty"
            )
        if self.critic == "adapter" and self.lora.gradient_checkpointing:
            # A layer is computed again on the way back, when the policy's adapter is the active one.
            raise ValueError("critic = 'adapter' does not go with lora.gradient_checkpointing; turn one of them off")
        return self


class ReportSection(Section):
    """What the report shows; harmful text only for `hrlaif report RUN --show-harmful`, never by configuration.

    `tensorboard` has the trainings write event files as they go, beside their `metrics.jsonl`.
    """

    title: str = ""
    cases: Annotated[int, Field(ge=0)] = 8
    tensorboard: bool = False


Arm = Literal["rlaif", "hrlaif", "human"]


class Config(Scaled):
    """The whole configuration of one run.

    `processes` is how many of them train reward models and policies together (0: one for each GPU of this machine).
    """

    name: str = "run"
    run_dir: str = ""
    seed: int = 0
    arms: tuple[Arm, ...] = ("rlaif", "hrlaif")
    threads: Annotated[int, Field(ge=0)] = 0
    processes: Annotated[int, Field(ge=0)] = 1
    model: ModelSection = ModelSection()
    judge: JudgeSection = JudgeSection()
    prompts: PromptsSection = PromptsSection()
    sft: SftSection = SftSection()
    responses: ResponsesSection = ResponsesSection()
    labels: LabelsSection = LabelsSection()
    red_team: RedTeamSection = RedTeamSection()
    human: HumanSection = HumanSection()
    pairs: PairsSection = PairsSection()
    reward: RewardSection = RewardSection()
    policy: PolicySection = PolicySection()
    evaluation: EvaluationSection = EvaluationSection()
    report: ReportSection = ReportSection()

    @property
    def contestants(self) -> tuple[str, ...]:
        """All that are compared: the start, the arms, and further models."""
        return ("start", *self.arms, *(one.name for one in self.evaluation.models))

    @field_validator("run_dir")
    @classmethod
    def _on_a_disk(cls, run_dir: str) -> str:
        if storage.is_url(run_dir):
            raise ValueError("a run folder lies on a disk or a mounted file system; prompts may come from an address")
        return run_dir

    @field_validator("arms")
    @classmethod
    def _arms_once(cls, arms: tuple[Arm, ...]) -> tuple[Arm, ...]:
        if not arms or len(set(arms)) != len(arms):
            raise ValueError("needs at least one of rlaif, hrlaif, human, each at most once")
        return arms
