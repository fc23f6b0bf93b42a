"""EleutherAI's lm-eval on task files of one's own: rows to ask before anything is paid, a local policy on them after.

A thin adapter: tasks, prompts, filters and metrics are lm-eval's (github.com/EleutherAI/lm-evaluation-harness).
"""

from __future__ import annotations

import contextlib
import io
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import datasets
import torch
from huggingface_hub import constants
from lm_eval.evaluator import evaluate
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager

from hrlaif.artifacts import fingerprint
from hrlaif.config import BenchmarkMode, BenchmarkSection
from hrlaif.errors import DataError, HrlaifError
from hrlaif.models.local import LocalSampler
from hrlaif.nn.memory import out_of_memory
from hrlaif.types import BenchmarkItem, BenchmarkResult, Message, Prompt, Task

# What lm-eval's output types are here; a rolling log-likelihood is a perplexity, which no row is right or wrong in.
MODES: dict[str, BenchmarkMode] = {
    "multiple_choice": "loglikelihood",
    "loglikelihood": "loglikelihood",
    "generate_until": "generative",
}
# Metrics of lm-eval that are 0 or 1 in every row.
YES_OR_NO = ("acc", "acc_norm", "acc_bytes", "exact_match")
FILES = ("json", "csv", "parquet", "text")
BATCH = 8


class Harness:
    """The tasks of the benchmarks of kind lm-eval, each loaded when it is first needed; nothing is downloaded."""

    def __init__(self, sections: Sequence[BenchmarkSection]) -> None:
        self._sections = {section.name: section for section in sections}
        self._loaded: dict[str, Any] = {}
        # Of its own: datasets would keep a copy of every version of the rows in the user's cache.
        self._cache = tempfile.TemporaryDirectory(prefix="hrlaif-lm-eval-")

    def items(self, section: BenchmarkSection) -> list[BenchmarkItem]:
        """One item per row of every task, under the name `BENCHMARK/TASK`.

        Raises:
            DataError: A task is unknown, cannot be loaded, needs the network, or has no metric that is 0 or 1.
        """
        return [item for name in section.tasks for item in self._items(section, name)]

    def answer(self, items: Sequence[BenchmarkItem], sampler: LocalSampler, *, seed: int) -> list[BenchmarkResult]:
        """What lm-eval makes of a policy on items of one task, in their order.

        Raises:
            DataError: The files are no longer those of the items, lm-eval fails, or a value is neither 0 nor 1.
            ModelError: Out of memory.
        """
        section, name = self._sections[str(items[0].prompt.source)], items[0].facts["task"]
        task, docs = self._task(section, name), [item.facts["doc"] for item in items]
        rows = task.eval_docs
        if any(item.facts["sha256"] != fingerprint(rows[doc]) for item, doc in zip(items, docs, strict=True)):
            raise _wrong(section, name, "its rows are not those that this run began with. Put the files back")
        # Seeded for each call: a run that was stopped in between draws the same examples and the same samples.
        task.set_fewshot_seed(seed)
        with _boundary(section, name), out_of_memory("lm-eval", "shorter prompts"), torch.random.fork_rng():
            torch.manual_seed(seed)
            backbone = sampler.backbone
            found = evaluate(
                # Adapters are in place in the model under them.
                HFLM(pretrained=backbone.inner, tokenizer=backbone.chat.tokenizer, batch_size=BATCH),
                {"tasks": {name: task}, "groups": {}, "group_map": {}},
                samples={name: docs},
                bootstrap_iters=0,
                apply_chat_template=section.chat,
                fewshot_as_multiturn=section.chat,
            )
        first = task._filters[0].name
        samples = {row["doc_id"]: row for row in found["samples"][name] if row["filter"] == first}
        metric = _metric(section, name, task)
        return [_result(section, item, samples[doc], metric) for item, doc in zip(items, docs, strict=True)]

    def _items(self, section: BenchmarkSection, name: str) -> Iterator[BenchmarkItem]:
        task = self._task(section, name)
        if task.OUTPUT_TYPE not in MODES:
            raise _wrong(section, name, f"output_type {task.OUTPUT_TYPE!r} is none of {', '.join(MODES)}")
        _metric(section, name, task)
        title = f"{section.name}/{name}"
        for number, row in enumerate(task.eval_docs):
            with _boundary(section, name):
                text = str(task.doc_to_text(row))
            yield BenchmarkItem(
                title,
                section.kind,
                MODES[task.OUTPUT_TYPE],
                Prompt(f"{title}/{number}", (Message("user", text),), name, Task.OPEN, source=section.name),
                0,
                facts={"task": name, "doc": number, "sha256": fingerprint(row)},
            )

    def _task(self, section: BenchmarkSection, name: str) -> Any:
        key = f"{section.name}/{name}"
        if key not in self._loaded:
            with _boundary(section, name):
                manager = TaskManager(include_path=section.path, include_defaults=False)
                changed = self._on_disk(section, name, manager)
                # As a member of a group: only there does lm-eval take changes to a task that it found.
                found = manager.load([{"group": section.name, "task": [{"task": name, **changed}]}])
                task = self._loaded[key] = found["tasks"][name]
                if task.get_config("num_fewshot") is None:
                    task.set_config("num_fewshot", 0)
        return self._loaded[key]

    def _on_disk(self, section: BenchmarkSection, name: str, manager: Any) -> dict[str, Any]:
        """Where the task's rows are: `data_files` relative to its YAML, as nothing in lm-eval says."""
        if name not in manager.all_subtasks:
            known = ", ".join(manager.all_subtasks) or "none (a YAML file that cannot be read counts for nothing)"
            raise _wrong(section, name, f"no such task in {section.path}. The tasks there: {known}")
        entry = manager.task_index[name]
        config = cast("Mapping[str, Any]", entry.cfg)
        kwargs = dict(config.get("dataset_kwargs") or {})
        if config.get("dataset_path") not in FILES or "data_files" not in kwargs or "://" in str(kwargs["data_files"]):
            instead = (
                f"dataset_path: json (or {', '.join(FILES[1:])}), dataset_kwargs: {{data_files: {{test: rows.jsonl}}}}"
            )
            problem = f"dataset_path {config.get('dataset_path')!r} names no file here and needs the network"
            raise _wrong(section, name, f"{problem}. Write the rows to a file, and name it: {instead}")
        if any(isinstance(one, dict) and one.get("hf_evaluate") for one in config.get("metric_list") or ()):
            raise _wrong(section, name, "a metric with hf_evaluate: true needs the network. Use one of lm-eval's own")
        files = _placed(kwargs["data_files"], entry.yaml_path.parent)
        return {"dataset_kwargs": {**kwargs, "data_files": files, "cache_dir": self._cache.name}}


def _placed(files: Any, folder: Path) -> Any:
    if isinstance(files, dict):
        return {split: _placed(one, folder) for split, one in files.items()}
    return [_placed(one, folder) for one in files] if isinstance(files, list) else str(folder / str(files))


def _metric(section: BenchmarkSection, name: str, task: Any) -> str:
    """The metric that is reported: the configured one, or the task's first that is 0 or 1 in every row."""
    higher: dict[str, bool] = task.higher_is_better()
    chosen = section.metric or next((one for one in higher if one in YES_OR_NO), "")
    if chosen not in higher:
        what = f"no metric {chosen!r}" if chosen else f"none of {', '.join(YES_OR_NO)} among its metrics"
        raise _wrong(section, name, f"{what} (it has: {', '.join(higher)}). Set `metric` to one that is 0 or 1 per row")
    if not higher[chosen]:
        raise _wrong(section, name, f"less of {chosen!r} is better, which is not supported. Set `metric` to another")
    return chosen


def _result(section: BenchmarkSection, item: BenchmarkItem, sample: dict[str, Any], metric: str) -> BenchmarkResult:
    value = sample.get(metric)
    # NumPy's numbers and booleans compare alike.
    if value is None or isinstance(value, (str, tuple, list)) or value not in (0, 1):
        problem = f"row {item.facts['doc']}: {metric} is {str(value)[:60]}, neither 0 nor 1. Set `metric` to another"
        raise _wrong(section, item.facts["task"], problem)
    said = [of_request[0] for of_request in sample["resps"]]
    evidence: dict[str, Any] = {"right": str(sample["target"]), "filter": sample["filter"]}
    if item.mode == "loglikelihood":
        evidence["logprobs_nats"] = [float(logprob) for logprob, _ in said]
    else:
        evidence |= {"response": said[0], "read": str(sample["filtered_resps"][0])}
    # No response record: lm-eval does not tell how a response ended.
    return BenchmarkResult(
        item.benchmark,
        item.kind,
        item.mode,
        item.prompt.id,
        item.prompt.category,
        None,
        {metric: bool(value)},
        evidence,
    )


@contextlib.contextmanager
def _boundary(section: BenchmarkSection, name: str) -> Iterator[None]:
    """Nothing is fetched within, lm-eval's bars and notes are not shown, and what it raises becomes one message."""
    before = constants.HF_HUB_OFFLINE, datasets.config.HF_HUB_OFFLINE
    # The environment variables of the same name are read once, when these are imported.
    constants.HF_HUB_OFFLINE = datasets.config.HF_HUB_OFFLINE = True
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            yield
    except HrlaifError:
        raise
    # A task is foreign code, templates and data: whatever type of error it likes.
    except Exception as error:
        said = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise _wrong(section, name, f"lm-eval: {type(error).__name__}: {said}") from error
    finally:
        constants.HF_HUB_OFFLINE, datasets.config.HF_HUB_OFFLINE = before


def _wrong(section: BenchmarkSection, name: str, problem: str) -> DataError:
    return DataError(f"evaluation.benchmarks: {section.name!r}: task {name!r}: {problem}.")
