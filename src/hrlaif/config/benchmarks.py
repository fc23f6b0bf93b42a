"""Which public benchmarks the evaluation asks, from which local files."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from hrlaif.config.base import Section

BenchmarkKind = Literal[
    "gsm8k", "math", "mmlu", "cmmlu", "arc", "truthfulqa", "ifeval", "humaneval", "xstest", "toxigen", "lm-eval"
]
BenchmarkMode = Literal["loglikelihood", "generative"]
JUDGED_KINDS = ("xstest", "toxigen")
CHOICE_KINDS = ("mmlu", "cmmlu", "arc", "truthfulqa")
LM_EVAL = "lm-eval"


class BenchmarkSection(Section):
    """One benchmark: a file or a folder in the format that its authors published (docs/benchmarks.md).

    `mode`: multiple choice is scored by the options' log-likelihood (the default there) or, as everything else, by what
    the model writes. `limit` (0: all) takes rows evenly over the file. `max_tokens` (0: the evaluation's) bounds an
    answer; temperature and top_p are the evaluation's.

    Kind lm-eval asks `tasks` of the task files in the folder `path`, which say mode, decoding and length themselves;
    `metric` (empty: the first that is 0 or 1 in every row) is what is reported, `chat` applies the chat template.
    """

    name: Annotated[str, Field(pattern=r"^[\w.-]+$")]
    kind: BenchmarkKind
    path: Annotated[str, Field(min_length=1)]
    mode: Literal["", BenchmarkMode] = ""
    limit: Annotated[int, Field(ge=0)] = 0
    max_tokens: Annotated[int, Field(ge=0)] = 0
    tasks: tuple[str, ...] = ()
    metric: str = ""
    chat: bool = True

    @model_validator(mode="after")
    def _mode_fits(self) -> BenchmarkSection:
        if self.mode == "loglikelihood" and self.kind not in CHOICE_KINDS:
            raise ValueError(
                f"{self.kind} has no options to compare; mode 'loglikelihood' is for {', '.join(CHOICE_KINDS)}"
            )
        return self

    @model_validator(mode="after")
    def _keys_fit(self) -> BenchmarkSection:
        is_lm_eval = self.kind == LM_EVAL
        foreign = ("mode", "max_tokens") if is_lm_eval else ("tasks", "metric", "chat")
        if given := [key for key in foreign if getattr(self, key) != type(self).model_fields[key].default]:
            whose = "is what its task files say" if is_lm_eval else "is for kind lm-eval"
            raise ValueError(f"{self.kind}: {' and '.join(given)} {whose}; leave it out")
        if is_lm_eval and (not self.tasks or len(set(self.tasks)) < len(self.tasks)):
            raise ValueError("lm-eval needs `tasks`: the names of tasks in the folder `path`, each once")
        return self

    @property
    def asked(self) -> BenchmarkMode:
        """The mode in which it is asked."""
        return self.mode or ("loglikelihood" if self.kind in CHOICE_KINDS else "generative")


def _names_once(benchmarks: tuple[BenchmarkSection, ...]) -> tuple[BenchmarkSection, ...]:
    names = [one.name for one in benchmarks]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise ValueError(f"two benchmarks are called {twice!r}; give each a name of its own")
    return benchmarks


Benchmarks = Annotated[tuple[BenchmarkSection, ...], AfterValidator(_names_once)]
