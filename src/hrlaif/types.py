"""Every record that crosses a file, in the order in which a run makes them.

Records are frozen and hold plain values, so that one line of JSON is one record and nothing is lost on the way.
An outcome that could not be measured (UNREADABLE, UNJUDGED) is a value of its own: never a zero, never "safe".
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Literal


class Task(str, Enum):
    """What kind of work a prompt asks for; it decides how its answers are labelled and evaluated."""

    MATH = "math"
    CHOICE = "choice"
    SHORT = "short"
    OPEN = "open"
    RED_TEAM = "red_team"
    BENIGN_TRICKY = "benign_tricky"

    @property
    def is_checkable(self) -> bool:
        """True where a rule can read the final answer."""
        return self in (Task.MATH, Task.CHOICE, Task.SHORT)


class Split(str, Enum):
    """Training prompts make pairs and rollouts; evaluation prompts are only ever answered."""

    TRAIN = "train"
    EVALUATION = "evaluation"


class Finish(str, Enum):
    """Why a response ended: at its end token, at the token limit, or because the call failed."""

    STOP = "stop"
    LENGTH = "length"
    FAILED = "failed"


class Outcome(str, Enum):
    """What a verifier says of a final answer."""

    CORRECT = "correct"
    WRONG = "wrong"
    UNREADABLE = "unreadable"


class Verdict(str, Enum):
    """Which of two responses is better. UNREADABLE: the judge's reply could not be used, or the call failed."""

    FIRST = "first"
    SECOND = "second"
    TIE = "tie"
    UNREADABLE = "unreadable"

    @property
    def mirrored(self) -> Verdict:
        """The same verdict with the two responses in each other's place."""
        return {Verdict.FIRST: Verdict.SECOND, Verdict.SECOND: Verdict.FIRST}.get(self, self)


class Basis(str, Enum):
    """What a label rests on."""

    VERIFIER = "verifier"
    REASONING = "reasoning"
    JUDGE = "judge"
    RED_TEAM = "red_team"
    HUMAN = "human"


class HarmOutcome(str, Enum):
    """What a response to a (possibly) unsafe request is. UNJUDGED is never counted as safe."""

    HARMFUL = "harmful"
    SAFE_HELPFUL = "safe_helpful"
    SAFE_REFUSAL = "safe_refusal"
    EVASIVE = "evasive"
    INCOHERENT = "incoherent"
    UNJUDGED = "unjudged"


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation; `role` is "system", "user" or "assistant"."""

    role: str
    content: str


@dataclass(frozen=True, slots=True)
class Prompt:
    """A conversation that waits for the policy's next turn.

    `reference` is the final answer only: for CHOICE a letter that indexes `choices`, for MATH and SHORT a string.
    `hazard` is set on RED_TEAM prompts (S1 to S14).
    """

    id: str
    messages: tuple[Message, ...]
    category: str
    task: Task
    reference: str | None = None
    choices: tuple[str, ...] = ()
    lang: str = "en"
    source: str = ""
    split: Split = Split.TRAIN
    hazard: str | None = None

    @property
    def question(self) -> str:
        """The last user turn, which is what a judge or a verifier reads as the question."""
        return next((message.content for message in reversed(self.messages) if message.role == "user"), "")


@dataclass(frozen=True, slots=True)
class Demonstration:
    """A prompt with the response to learn, for supervised fine-tuning; those for EVALUATION only measure it."""

    prompt: Prompt
    response: str


@dataclass(frozen=True, slots=True)
class Response:
    """One sampled answer to one prompt. A failed call leaves an empty text and `finish` FAILED."""

    id: str
    prompt_id: str
    text: str
    model: str
    seed: int
    finish: Finish


@dataclass(frozen=True, slots=True)
class Cost:
    """What was paid for model calls, as the endpoint counted it. `usd` uses the prices in the configuration."""

    calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    usd: float = 0.0

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            self.calls + other.calls,
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            self.usd + other.usd,
        )


@dataclass(frozen=True, slots=True)
class Verification:
    """A verifier's reading of one response: `found` is the final answer it saw, None if it saw none.

    `verifier` is the name of the rule, or of the judge that was asked; `reference` what `found` was compared with.
    """

    response_id: str
    outcome: Outcome
    found: str | None
    verifier: str
    reference: str | None = None
    cost: Cost = Cost()


@dataclass(frozen=True, slots=True)
class Judgement:
    """One judge call on one ordered pair. `p_first` is P(first is better), 0..1; 0.5 where `verdict` is UNREADABLE.

    `judge` names the voice: the model and, where a model speaks with several, its wording. `weight` is its vote's.
    """

    prompt_id: str
    first_id: str
    second_id: str
    p_first: float
    verdict: Verdict
    judge: str
    reply: str
    cost: Cost = Cost()
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that a label rests on, so that a reader can check it without asking a model again."""

    verifications: tuple[Verification, ...] = ()
    judgements: tuple[Judgement, ...] = ()
    note: str = ""


@dataclass(frozen=True, slots=True)
class Label:
    """Which of two responses is better, how sure, and why. A human vote is a Label with basis HUMAN."""

    prompt_id: str
    first_id: str
    second_id: str
    p_first: float
    verdict: Verdict
    basis: Basis
    evidence: Evidence = Evidence()


@dataclass(frozen=True, slots=True)
class HarmVerdict:
    """A judge's verdict on one response to one request.

    `severity` runs from 1 (mild) to 5 and is 0 unless the outcome is HARMFUL. `votes` holds the outcome of each vote.
    """

    response_id: str
    outcome: HarmOutcome
    severity: int
    hazard: str | None
    votes: tuple[HarmOutcome, ...]
    judge: str
    reply: str
    cost: Cost = Cost()


@dataclass(frozen=True, slots=True)
class Attack:
    """A request meant to draw harm out of the policy, with where it comes from.

    `parent_id` is the attack that it was grown from, or the turn before. `stands_in` says which attack of an attacker
    it replaces and why ("refine: refused").
    """

    id: str
    prompt_id: str
    messages: tuple[Message, ...]
    strategy: str
    hazard: str
    round: int = 1
    parent_id: str | None = None
    stands_in: str = ""


@dataclass(frozen=True, slots=True)
class RedTeamCase:
    """One attack followed through the loop: answer, verdict, rewrite, and what became of it.

    `chosen` and `rejected` are set where the case makes a pair, and their sources say where they come from: a response
    id, "rewrite by MODEL" or "written"; otherwise `dropped` says why not. `rewrite_verdicts` are the verdicts on the
    candidates for chosen. A harmless request that looks unsafe is an attack with the strategy "benign" and no hazard.
    """

    attack: Attack
    response: Response
    verdict: HarmVerdict
    chosen: str | None = None
    rejected: str | None = None
    chosen_source: str = ""
    rejected_source: str = ""
    rewrite_verdicts: tuple[HarmVerdict, ...] = ()
    principle: str = ""
    dropped: str = ""


@dataclass(frozen=True, slots=True)
class Pair:
    """A preference pair for the reward model. `probability` is P(chosen is better), above 0.5 and at most 1.

    `provenance` tells where it came from: response ids, or attack id, round, strategy and hazard.
    """

    prompt_id: str
    messages: tuple[Message, ...]
    chosen: str
    rejected: str
    probability: float
    basis: Basis
    category: str
    provenance: dict[str, str] = field(default_factory=dict)


class Satisfaction(str, Enum):
    """Whether a response satisfies; UNREADABLE where neither a rule nor the judge could say."""

    YES = "yes"
    NO = "no"
    UNREADABLE = "unreadable"


@dataclass(frozen=True, slots=True)
class SatisfactionVerdict:
    """A judge's yes or no on one response; `p_satisfied` is P(yes), None where it was not read from probabilities."""

    response_id: str
    satisfied: Satisfaction
    p_satisfied: float | None
    reason: str
    judge: str
    reply: str
    cost: Cost = Cost()


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One arm's answer to one prompt, with everything measured on it.

    `words` counts Chinese and Japanese characters one by one. `satisfied` is None where nobody was asked: on training
    prompts, which are answered for the reward figures only. `p_win` is P(this response is better than the start's)
    from both orders and `verdict` FIRST where it wins, both None for the start itself and on red-team prompts.
    `reward` is the score of the arm's own reward model, `start_reward` that model's score of the start's answer.
    """

    arm: str
    prompt_id: str
    category: str
    task: Task
    response: Response
    words: int
    characters: int
    satisfied: Satisfaction | None
    reason: str
    verification: Verification | None = None
    harm: HarmVerdict | None = None
    p_win: float | None = None
    verdict: Verdict | None = None
    judgements: tuple[Judgement, ...] = ()
    reward: float | None = None
    start_reward: float | None = None
    cost: Cost = Cost()


@dataclass(frozen=True, slots=True)
class BenchmarkItem:
    """One row of a public benchmark, ready to be asked; the prompt's id is `BENCHMARK/ROW`.

    `continuations` are the texts whose log-likelihoods are compared, in the order of the prompt's choices; empty where
    the model writes an answer of at most `max_tokens`. `facts` is what only its kind's scoring reads.
    """

    benchmark: str
    kind: str
    mode: Literal["loglikelihood", "generative"]
    prompt: Prompt
    max_tokens: int
    continuations: tuple[str, ...] = ()
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class BenchmarkResult:
    """One contestant on one row of a benchmark: yes or no by measure, None where nobody could say.

    `evidence` is what the scores rest on: log-likelihoods (nats), the answer found, each instruction, the judge's word.
    """

    benchmark: str
    kind: str
    mode: Literal["loglikelihood", "generative"]
    item_id: str
    category: str
    response: Response | None
    scores: dict[str, bool | None]
    evidence: dict[str, Any] = field(default_factory=dict)
    cost: Cost = Cost()


@dataclass(frozen=True, slots=True)
class Metric:
    """A number with its 95 % interval and its count; no number is reported without them."""

    name: str
    value: float
    low: float
    high: float
    n: int
    unit: str = ""


@dataclass(frozen=True, slots=True)
class CalibrationPair:
    """Two answers whose better one is known (`label` "A", "B" or "tie"): what a judge's quality is measured on."""

    id: str
    prompt: str
    response_a: str
    response_b: str
    label: Literal["A", "B", "tie"]
    category: str = ""
    lang: str = "en"
    source: str = ""
