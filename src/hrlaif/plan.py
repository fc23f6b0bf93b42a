"""How stages become the steps of one run, and which of them have to be made.

A step is skipped while the fingerprint of all it depends on (the content of its inputs, its part of the configuration,
the models' names, the seed) is the one in its artifact's manifest. Which stages there are stands in `pipeline.py`.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from hrlaif import artifacts
from hrlaif.config import Config, Section
from hrlaif.errors import DataError
from hrlaif.run import Run, needs_extra

# Changed when a stage's code changes what it writes, so that finished runs are not mistaken for current ones.
CODE_SCHEMA = 2
# Keys that say how calls are made, not what is asked: changing one makes nothing stale.
OPERATIONAL = {
    "url", "key_env", "weight", "in_flight", "timeout_s", "retries", "requests_per_minute", "tokens_per_minute",
    "usd_per_million_prompt_tokens", "usd_per_million_completion_tokens", "replicas", "budget_usd", "gate",
    "checkpoint_every", "batch_tokens", "device", "max_unjudged", "tensorboard",
    "rounds",  # says which steps there are; what a round depends on are the files of those before it
    "adapter_dir",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Stage:
    """One step of the flow. In paths, `{arm}` stands for the arm, and `{every}` for all contestants.

    `over` says how often it runs: once, for each arm, for all contestants, for each arm that a judge labels, or for
    one arm alone. A stage that `takes_what_is_there` does without the inputs that are not made yet.

    Neighbouring stages with a `first_round` are gone through once for each round of the red team from that one on, of
    which 0 is the start: for the hrlaif arm alone, and in the last round as `over` says. In their paths `{round}` is
    the folder of a round (`hrlaif/round_1`, the last one's is `hrlaif`), `{before}` that of the round before,
    `{earlier}` those of all rounds before, and `{rounds}` these and the round's own.
    """

    name: str
    command: str
    reads: tuple[str, ...]
    writes: str
    settings: Callable[[Config], object]
    make: Callable[[Run, Step], None]
    extra: str = ""
    over: Literal["run", "arms", "every", "judged", "hrlaif", "human"] = "run"
    wanted: Callable[[Config], bool] = lambda _: True
    takes_what_is_there: bool = False
    first_round: int | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """A stage for one arm of one run: with real paths, and the fingerprint of what it depends on."""

    stage: Stage
    arm: str | None
    path: Path
    inputs: tuple[Path, ...]
    fingerprint: str = ""
    round: int = 1
    is_last_round: bool = True

    @property
    def title(self) -> str:
        """What progress calls it."""
        rounds = "" if self.is_last_round else f", round {self.round}" if self.round else ", start"
        return f"{self.stage.name} ({self.arm}{rounds})" if self.arm else self.stage.name

    @property
    def command(self) -> str:
        """The command that makes it: `red-team` goes through the rounds up to the last attack."""
        return self.stage.command if self.is_last_round else "red-team"


def plan(stages: Iterable[Stage], config: Config) -> list[Step]:
    """All steps of a run in order; inputs that no step of this run writes (a red team switched off) are left out."""
    folder = Path(config.run_dir)
    every = config.contestants
    last = config.red_team.rounds if config.red_team.enabled and "hrlaif" in config.arms else 1
    steps: list[Step] = []
    for stage, arm, number in _turns([stage for stage in stages if stage.wanted(config)], config, last):
        made = {step.path for step in steps}
        paths = [folder / path for read in stage.reads for path in _expand(read, arm, every, (number, last))]
        inputs = tuple(path for path in paths if path in made)
        (written,) = _expand(stage.writes, arm, every, (number, last))
        steps.append(Step(stage, arm, folder / written, inputs, round=number, is_last_round=number == last))
    return steps


def _turns(stages: Iterable[Stage], config: Config, last: int) -> Iterator[tuple[Stage, str | None, int]]:
    """Each stage with the arms and rounds that it is made for, in order."""
    for in_rounds, group in itertools.groupby(stages, key=lambda stage: stage.first_round is not None):
        neighbours = list(group)
        for number in range(last + 1) if in_rounds else (last,):
            for stage in neighbours:
                if number >= (stage.first_round or 0):
                    arms = _arms(stage, config)
                    yield from ((stage, arm, number) for arm in arms if number == last or arm == "hrlaif")


def _arms(stage: Stage, config: Config) -> Sequence[str | None]:
    if stage.over == "run":
        return [None]
    if stage.over == "every":
        return config.contestants
    if stage.over == "arms":
        return config.arms
    return [arm for arm in config.arms if (arm != "human" if stage.over == "judged" else arm == stage.over)]


def _expand(pattern: str, arm: str | None, every: Iterable[str], place: tuple[int, int]) -> list[str]:
    """A path pattern for an arm, in a place: the round, and which round is the last."""
    number, last = place

    def home(of_round: int) -> str:
        attacked = arm or "hrlaif"
        return attacked if of_round == last else f"{attacked}/round_{of_round}"

    rounds = [home(one) for one in range(1, number + 1)]
    for name, values in (("every", every), ("rounds", rounds), ("earlier", rounds[:-1])):
        if f"{{{name}}}" in pattern:
            return [pattern.format(**{name: value}) for value in values]
    return [pattern.format(arm=arm, round=home(number), before=home(number - 1))]


def execute(run: Run, steps: Sequence[Step], *, tell: Callable[[str], None], anew: bool = False) -> None:
    """Make what is not current, or everything `anew`, in order; `tell` gets one line per step.

    Raises:
        DataError: An input is missing because an earlier stage has not run.
    """
    for step in steps:
        missing = [path for path in step.inputs if artifacts.read_manifest(path) is None]
        if step.stage.takes_what_is_there:
            step = replace(step, inputs=tuple(path for path in step.inputs if path not in missing))
        elif missing:
            raise DataError(f"{missing[0]}: not there yet. `hrlaif run` makes it, or run the earlier stage alone.")
        step = _with_fingerprint(run.config, step)
        if not anew and artifacts.is_current(step.path, step.fingerprint):
            tell(f"{step.title}: up to date")
            continue
        if twin := _twin(run.folder, step):
            artifacts.copy(twin, step.path)
            tell(f"{step.title}: up to date, as in {twin.parent.relative_to(run.folder)}")
            continue
        start = time.monotonic()
        named = {"stage": step.stage.name, "arm": step.arm} | ({} if step.is_last_round else {"round": step.round})
        run.log(event="start", **named)
        with needs_extra(step.stage.extra or "all"):
            step.stage.make(run, step)
        seconds = time.monotonic() - start
        rows = (artifacts.read_manifest(step.path) or {}).get("rows")
        run.log(event="done", **named, rows=rows, seconds=round(seconds, 1))
        counted = f"{rows} records, " if rows is not None else ""
        tell(f"{step.title}: {counted}{seconds:.0f} s")


def _twin(folder: Path, step: Step) -> Path | None:
    """The same artifact in the folder of another round: the number of rounds changed, or a round taught nothing new."""
    if step.stage.first_round is None or step.arm is None:
        return None
    homes = (folder / step.arm, *sorted((folder / step.arm).glob("round_*")))
    places = (home / step.path.name for home in homes)
    return next((place for place in places if artifacts.is_current(place, step.fingerprint)), None)


def finished(config: Config, steps: Iterable[Step]) -> list[Step]:
    """The steps that `execute` would find up to date."""
    done: list[Step] = []
    for step in steps:
        made = {one.path for one in done}
        if artifacts.read_manifest(step.path) is None or not made.issuperset(step.inputs):
            continue
        step = _with_fingerprint(config, step)
        if artifacts.is_current(step.path, step.fingerprint):
            done.append(step)
    return done


def _with_fingerprint(config: Config, step: Step) -> Step:
    inputs = [[path.name, _identity(path)] for path in step.inputs]
    settings = _semantic(step.stage.settings(config))
    other = config.evaluation.model(step.arm)
    further = [_semantic(other)] if other else []
    key = artifacts.fingerprint(CODE_SCHEMA, step.stage.name, step.arm, config.seed, settings, inputs, *further)
    return replace(step, fingerprint=key)


def _identity(path: Path) -> str:
    if path.is_dir():
        return str((artifacts.read_manifest(path) or {})["fingerprint"])
    return artifacts.file_hash(path)


def _semantic(settings: object) -> object:
    """The settings as plain values without what only says how calls are made."""
    if isinstance(settings, Section):
        return _semantic(settings.model_dump(mode="json"))
    if isinstance(settings, dict):
        return {key: _semantic(value) for key, value in settings.items() if key not in OPERATIONAL}
    if isinstance(settings, (list, tuple)):
        return [_semantic(value) for value in settings]
    return settings
