"""An open run folder: its configuration, its paths, and its models, each opened when a stage first needs it.

Together with `pipeline.py` and `cli.py` the only place that imports inside functions: labelling needs no torch.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import json
import os
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from hrlaif import config as configuration
from hrlaif.artifacts import write_atomic, writing_to
from hrlaif.config import BUNDLED, Arm, Config, ContestantSection, EndpointSection, RaySection
from hrlaif.errors import ConfigError, DataError

if TYPE_CHECKING:
    from hrlaif.judges.panel import Panel
    from hrlaif.models.base import Calls, ChatModel, RewardScorer, Sampler
    from hrlaif.models.harness import Harness
    from hrlaif.models.http import HttpModel
    from hrlaif.models.shared_ledger import SharedLedger

OpenModel = Callable[[Sequence[EndpointSection]], "ChatModel"]
# Requests handed to a local model at a time: large enough to sort by length, small enough to lose little in a crash.
LOCAL_BLOCK = 64
CALLS = "calls.sqlite"
HTTP_BLOCK = 512


class Run:
    """One run folder, locked while it is open. `show_harmful`: its report may show harmful texts, this once.

    Raises:
        ConfigError: Another process has the folder open.
        DataError: The folder cannot be written.
    """

    def __init__(self, config: Config, *, show_harmful: bool = False) -> None:
        self.config = config
        self.show_harmful = show_harmful
        self.folder = Path(config.run_dir)
        self._open = contextlib.ExitStack()
        self._bundled: EndpointSection | None = None
        self._ledger: Calls | None = None

    def __enter__(self) -> Run:
        with writing_to(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = self._open.enter_context((self.folder / ".lock").open("w"))
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self._open.close()
            raise ConfigError(
                f"{self.folder}: another hrlaif process works in this run folder. Wait for it."
            ) from error
        if self.config.threads:
            # Read by torch when it is imported, which happens later, when a stage needs it.
            os.environ["OMP_NUM_THREADS"] = str(self.config.threads)
        write_atomic(self.folder / "config.toml", configuration.dump(self.config).encode())
        if self.config.engine == "ray":
            self._open.enter_context(on_ray(self.config.ray))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    def log(self, **event: object) -> None:
        """Append one event to `log.jsonl`."""
        with writing_to(self.folder), (self.folder / "log.jsonl").open("a") as file:
            file.write(json.dumps({"time": time.strftime("%Y-%m-%dT%H:%M:%S%z"), **event}) + "\n")

    @property
    def ledger(self) -> Calls:
        """The run's ledger of paid calls."""
        if self._ledger is None and self.config.ledger:
            self._ledger = self._open.enter_context(shared_ledger(self.config.ledger))
        elif self._ledger is None:
            from hrlaif.models.ledger import Ledger

            self._ledger = self._open.enter_context(Ledger(self.folder / CALLS))
        return self._ledger

    @functools.cached_property
    def judge(self) -> ChatModel:
        """The judge of everything but comparisons: its endpoints, or the bundled model."""
        from hrlaif.judges.panel import with_room

        section = self.config.judge
        return with_room(self._judging([section, *section.replicas]), section.reply_max_tokens)

    @functools.cached_property
    def attacker(self) -> ChatModel:
        """Who writes adaptive attacks: the model at `red_team.attacker`, or the judge."""
        section = self.config.red_team.attacker
        return self._judging([section]) if section.url else self.judge

    @functools.cached_property
    def panel(self) -> Panel:
        """Who compares: the members of the configured panel, or the judge alone."""
        from hrlaif.judges.panel import seat

        return seat(self.config.judge, self._judging)

    @property
    def evaluation_judge(self) -> tuple[ChatModel, Panel]:
        """Who measures and who compares in the evaluation: where a judge is set for it, that one for both."""
        from hrlaif.judges.panel import Judge, Panel, with_room

        section = self.config.evaluation.judge
        if section is None:
            return self.judge, self.panel
        model = self._judging([section])
        alone = Judge(model, reply=section.reply, reply_max_tokens=section.reply_max_tokens)
        return with_room(model, section.reply_max_tokens), Panel((alone,))

    def training_sampler(self) -> tuple[Sampler, int]:
        """The policy that answers training prompts, and the block of requests to hand it at a time."""
        endpoint = self.config.responses.endpoint
        if endpoint.url and self.config.sft.sources:
            warnings.warn(
                f"responses come from {endpoint.model!r} at responses.endpoint: it must serve {self.base_model}, the "
                "model that was fine-tuned in this run.",
                stacklevel=2,
            )
        if endpoint.url or (self.config.model.name == BUNDLED and not self.config.sft.sources):
            from hrlaif.models.http_sampler import HttpSampler

            workers = self.config.ray.workers if self.config.engine == "ray" else 1
            return HttpSampler(self._chat(endpoint)), HTTP_BLOCK * workers
        return self.contestant("start"), LOCAL_BLOCK

    def contestant(self, name: str) -> Sampler:
        """Who answers in the evaluation: the start, an arm's policy, both through the same local code, or another."""
        if other := self.config.evaluation.model(name):
            return self.other(other)
        return self.trained(None if name == "start" else self.folder / name / "policy")

    def other(self, section: ContestantSection) -> Sampler:
        """A model that the run did not make."""
        if section.url:
            from hrlaif.models.http_sampler import HttpSampler

            return HttpSampler(self._chat(section), purpose=f"answers/{section.name}")
        from hrlaif.models.local import LocalSampler

        return LocalSampler(section.path, device=self.config.model.device, dtype=self.config.model.dtype)

    def trained(self, policy: Path | None) -> Sampler:
        """A policy folder of this run, or the start, on this machine."""
        from hrlaif.models.local import LocalSampler

        model = self.config.model
        return LocalSampler(self.base_model, adapter=policy, device=model.device, dtype=model.dtype)

    def scorer(self, arm: Arm) -> RewardScorer:
        """An arm's reward model."""
        from hrlaif.models.local import LocalReward

        model = self.config.model
        return LocalReward(self.folder / arm / "reward", base=self.base_model, device=model.device, dtype=model.dtype)

    @functools.cached_property
    def harness(self) -> Harness:
        """EleutherAI's lm-eval, for the benchmarks that it asks."""
        with needs_extra("lm-eval"):
            from hrlaif.models.harness import Harness
        return Harness(self.config.evaluation.benchmarks)

    @property
    def base_model(self) -> str:
        """The starting policy as transformers loads it: a folder or a hub name; fine-tuned where the run does that."""
        return str(self.folder / "sft") if self.config.sft.sources else self.pretrained_model

    @property
    def pretrained_model(self) -> str:
        """The configured model as it came."""
        if self.config.model.name != BUNDLED:
            return self.config.model.name
        with needs_extra("bundled"):
            from hrlaif.models import bundled_weights

        return str(bundled_weights.folder())

    @functools.cached_property
    def _judging(self) -> OpenModel:
        return judging(self.ledger, budget_usd=self.config.judge.budget_usd, served=self._served)

    def _chat(self, section: EndpointSection) -> HttpModel:
        from hrlaif.models.http import HttpModel

        return HttpModel(self._served(section), ledger=self.ledger)

    def _served(self, section: EndpointSection) -> EndpointSection:
        """The section itself, or the bundled model's local server (started once) where it names no url."""
        if section.url:
            return section
        if self.config.engine == "ray":
            raise ConfigError(
                "engine = 'ray' needs judge.url and responses.endpoint: the bundled model serves one machine"
            )
        if self._bundled is None:
            with needs_extra("bundled"):
                from hrlaif.models import bundled

            self._bundled = self._open.enter_context(bundled.serve(threads=self.config.threads))
        return self._bundled


def judging(ledger: Calls, *, budget_usd: float, served: Callable[[EndpointSection], EndpointSection]) -> OpenModel:
    """How the models of judges are opened: with one ledger and one budget for all, and each model at an address once,
    so that its limits hold for everyone who asks it. `served` gives the bundled model's address where none is set.
    """
    from hrlaif.models.http import HttpModel
    from hrlaif.models.limits import Budget

    budget = Budget(budget_usd, lambda: ledger.paid_usd)
    opened: dict[tuple[str, str], HttpModel] = {}

    def open_model(sections: Sequence[EndpointSection]) -> ChatModel:
        key = (sections[0].url, sections[0].model)
        if key not in opened:
            opened[key] = HttpModel([served(section) for section in sections], ledger=ledger, budget=budget)
        return opened[key]

    return open_model


def shared_ledger(url: str) -> SharedLedger:
    """The ledger of many hosts."""
    with needs_extra("scale"):
        from hrlaif.models.shared_ledger import SharedLedger
    return SharedLedger(url)


@contextlib.contextmanager
def on_ray(section: RaySection) -> Iterator[None]:
    """Have a Ray cluster make the calls of the stages."""
    with needs_extra("scale"):
        from hrlaif.models.flow import spreading
        from hrlaif.models.ray_engine import RayEngine
    with RayEngine(section) as engine, spreading(engine):
        yield


@contextlib.contextmanager
def needs_extra(extra: str) -> Iterator[None]:
    """Turn a missing optional package into a message that names the extra to install."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise ConfigError(f"this needs {error.name!r}: pip install 'hrlaif[{extra}]'") from error


def open_folder(folder: Path) -> Run:
    """The run of an existing run folder, with the configuration it holds.

    Raises:
        DataError: The folder is no run folder.
    """
    path = folder / "config.toml"
    if not path.exists():
        raise DataError(f"{folder}: not a run folder (no config.toml). `hrlaif run CONFIG` makes one.")
    config = configuration.load(path)
    return Run(config.model_copy(update={"run_dir": str(folder.resolve())}))
