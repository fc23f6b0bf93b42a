"""lm-eval on task files of one's own: what is asked, what a policy scores, and what is said of files that fail."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from hrlaif.artifacts import read_records
from hrlaif.benchmarks import Asking, files_of, load, measure, summarise
from hrlaif.config import Config, EvaluationSection, ModelSection
from hrlaif.errors import ConfigError, DataError
from hrlaif.pipeline import STAGES
from hrlaif.plan import plan
from hrlaif.run import Run
from hrlaif.types import BenchmarkItem, BenchmarkResult

if TYPE_CHECKING:
    from hrlaif.models.harness import Harness
    from hrlaif.models.local import LocalSampler

pytestmark = pytest.mark.filterwarnings("ignore")
ROWS = [
    {"question": "What falls from clouds?", "options": ["sand", "rain", "iron"], "right": 1},
    {"question": "What do bees make?", "options": ["honey", "glass", "coal"], "right": 0},
    {"question": "What is hot?", "options": ["ice", "snow", "fire"], "right": 2},
]
CHOICE = """
task: own_choice
dataset_path: json
dataset_kwargs: {data_files: {test: rows.jsonl}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{question}}"
doc_to_choice: "{{options}}"
doc_to_target: right
"""
WRITTEN = """
task: own_written
dataset_path: json
dataset_kwargs: {data_files: {test: rows.jsonl}}
test_split: test
output_type: generate_until
doc_to_text: "{{question}}"
doc_to_target: "{{options[right]}}"
generation_kwargs: {until: ["\\n"], max_gen_toks: 4, do_sample: false}
metric_list: [{metric: exact_match, aggregation: mean, higher_is_better: true}]
"""


@pytest.fixture(scope="module")
def policy(tiny_model: Path) -> LocalSampler:
    pytest.importorskip("lm_eval", reason="needs the lm-eval extra: pip install 'hrlaif[lm-eval]'")
    from hrlaif.models.local import LocalSampler

    return LocalSampler(str(tiny_model))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "tasks"
    made.mkdir()
    (made / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    (made / "choice.yaml").write_text(CHOICE)
    (made / "written.yaml").write_text(WRITTEN)
    return made


def section_of(folder: Path, *tasks: str, **keys: Any) -> EvaluationSection:
    one = {"name": "own", "kind": "lm-eval", "path": str(folder), "tasks": tasks, **keys}
    return EvaluationSection.model_validate({"benchmarks": [one]})


def opened(folder: Path, *tasks: str, **keys: Any) -> tuple[list[BenchmarkItem], Harness]:
    pytest.importorskip("lm_eval", reason="needs the lm-eval extra: pip install 'hrlaif[lm-eval]'")
    from hrlaif.models.harness import Harness

    section = section_of(folder, *tasks, **keys)
    harness = Harness(section.benchmarks)
    return load(section, read_table=lambda _: [], ask=lambda *_: "", of_tasks=harness.items), harness


def results(items: list[BenchmarkItem], harness: Harness, policy: Any, path: Path) -> list[BenchmarkResult]:
    def nobody() -> Any:
        raise AssertionError("no judge is needed")

    measure(
        items,
        sampler=policy,
        judge=nobody,
        on_tasks=lambda block: harness.answer(block, policy, seed=1),
        asking=Asking(1.0, 1.0, 1, 2),
        path=path,
        fingerprint="f",
    )
    return list(read_records(path, BenchmarkResult))


def from_first(logprobs: list[float]) -> list[float]:
    """How much likelier each option is than the first.

    lm-eval moves the line break that ends the chat template into the options: all have the same nats on top.
    """
    return [one - logprobs[0] for one in logprobs[1:]]


def test_rows_become_records_of_both_modes_and_the_likeliest_option_counts(
    folder: Path, policy: LocalSampler, tmp_path: Path
) -> None:
    items, harness = opened(folder, "own_choice", "own_written")
    rows = results(items, harness, policy, tmp_path / "benchmarks.jsonl")
    assert [row.item_id for row in rows] == [
        *(f"own/own_choice/{number}" for number in range(3)),
        *(f"own/own_written/{number}" for number in range(3)),
    ]
    assert [row.mode for row in rows] == ["loglikelihood"] * 3 + ["generative"] * 3
    for row, published in zip(rows[:3], ROWS, strict=True):
        logprobs = row.evidence["logprobs_nats"]
        assert len(logprobs) == 3
        assert row.scores == {"acc": logprobs.index(max(logprobs)) == published["right"]}
    assert all(row.scores == {"exact_match": False} and row.evidence["response"] for row in rows[3:])
    found = summarise({"start": rows, "rlaif": rows})
    assert found["own/own_choice"]["metrics"]["start"]["all"]["acc"]["n"] == 3
    assert found["own/own_written"]["measures"] == {"exact_match": {"title": "exact_match", "more_is_better": True}}
    assert found["own/own_choice"]["differences"]["rlaif"]["acc"]["value"] == 0


def test_log_likelihoods_are_those_of_the_policy_itself_in_blocks_of_any_size(
    folder: Path, policy: LocalSampler
) -> None:
    items, harness = opened(folder, "own_choice", chat=True)
    together = harness.answer(items, policy, seed=1)
    one = harness.answer(items[2:], policy, seed=1)[0]
    assert one.evidence["logprobs_nats"] == pytest.approx(together[2].evidence["logprobs_nats"], abs=1e-4)
    (own,) = policy.logprobs([(items[2].prompt.messages, ROWS[2]["options"])])
    assert from_first(one.evidence["logprobs_nats"]) == pytest.approx(from_first(own), abs=1e-3)
    plain = opened(folder, "own_choice", chat=False)[1].answer(items[2:], policy, seed=1)[0]
    assert from_first(plain.evidence["logprobs_nats"]) != pytest.approx(from_first(own), abs=1e-1)


def test_what_the_policy_writes_is_compared_by_the_tasks_metric(folder: Path, policy: LocalSampler) -> None:
    items, harness = opened(folder, "own_written")
    said = harness.answer(items[:1], policy, seed=1)[0].evidence["response"]
    rows = [{**ROWS[0], "options": [said], "right": 0}]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    items, harness = opened(folder, "own_written")
    assert harness.answer(items, policy, seed=1)[0].scores == {"exact_match": True}


def test_a_trained_adapter_counts(folder: Path, tiny_model: Path, tmp_path: Path, policy: LocalSampler) -> None:
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    from hrlaif.models.local import LocalSampler

    torch.manual_seed(0)
    config = LoraConfig(r=2, target_modules=["q_proj", "v_proj"], init_lora_weights=False, task_type="CAUSAL_LM")
    get_peft_model(AutoModelForCausalLM.from_pretrained(tiny_model), config).save_pretrained(tmp_path / "policy")
    arm = LocalSampler(str(tiny_model), adapter=tmp_path / "policy")
    items, harness = opened(folder, "own_choice")
    found, of_start = (harness.answer(items[:1], one, seed=1)[0].evidence["logprobs_nats"] for one in (arm, policy))
    (own,) = arm.logprobs([(items[0].prompt.messages, ROWS[0]["options"])])
    assert from_first(found) == pytest.approx(from_first(own), abs=1e-3)
    assert from_first(found) != pytest.approx(from_first(of_start), abs=1e-1)


def test_a_limit_takes_rows_evenly_from_every_task(folder: Path) -> None:
    items, _ = opened(folder, "own_choice", "own_written", limit=2)
    assert [item.prompt.id.removeprefix("own/own_") for item in items] == [
        "choice/0", "choice/1", "written/0", "written/1"
    ]  # fmt: skip


def replaced(old: str, new: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        (folder / "choice.yaml").write_text(CHOICE.replace(old, new))

    return change


METRIC = "metric_list: [{metric: %s, aggregation: mean, higher_is_better: %s}]\ntask:"
BAD: dict[str, tuple[Callable[[Path], None], str]] = {
    "unknown": (replaced("task: own_choice", "task: other"), "no such task in .*other, own_written"),
    "hub": (
        replaced("dataset_path: json", "dataset_path: someone/rows"),
        "'someone/rows' names no file here and needs the network",
    ),
    "url": (replaced("test: rows.jsonl", "test: 'https://a.example/rows.jsonl'"), "needs the network"),
    "hf metric": (
        replaced("task:", "metric_list: [{metric: acc, hf_evaluate: true}]\ntask:"),
        "hf_evaluate: true needs the network",
    ),
    "no file": (lambda folder: (folder / "rows.jsonl").unlink(), "rows.jsonl"),
    "template": (replaced("{{question}}", "{{question"), "TemplateSyntaxError"),
    "no metric": (replaced("task:", METRIC % ("brier_score", "false")), "none of acc"),
    "rolling": (replaced("multiple_choice", "loglikelihood_rolling"), "'loglikelihood_rolling' is none of"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_task_that_cannot_be_asked_is_named_with_what_is_wrong(name: str, folder: Path) -> None:
    change, message = BAD[name]
    change(folder)
    with pytest.raises(DataError, match=f"(?s)'own': task 'own_choice': .*{message}"):
        opened(folder, "own_choice")


def test_a_metric_that_is_no_yes_or_no_stops_with_the_row(folder: Path, policy: LocalSampler) -> None:
    (folder / "choice.yaml").write_text(CHOICE.replace("task:", METRIC % ("likelihood", "true"), 1))
    with (folder / "choice.yaml").open("a") as file:
        file.write("process_results: !function own.score\n")
    (folder / "own.py").write_text("def score(doc, results):\n    return {'likelihood': 0.25}\n")
    items, harness = opened(folder, "own_choice", metric="likelihood")
    with pytest.raises(DataError, match=r"row 0: likelihood is 0.25, neither 0 nor 1"):
        harness.answer(items, policy, seed=1)


def test_rows_that_changed_after_the_run_began_are_noticed(folder: Path, policy: LocalSampler) -> None:
    items, _ = opened(folder, "own_choice")
    (folder / "rows.jsonl").write_text((folder / "rows.jsonl").read_text().replace('"right": 0', '"right": 1'))
    _, harness = opened(folder, "own_choice")
    with pytest.raises(DataError, match="not those that this run began with"):
        harness.answer(items, policy, seed=1)


def test_rows_and_functions_beside_a_task_count_as_its_files_and_what_python_compiles_does_not(folder: Path) -> None:
    (folder / "__pycache__").mkdir()
    for name in ("helpers.py", "__pycache__/helpers.pyc", ".hidden"):
        (folder / name).write_text("")
    (benchmark,) = section_of(folder, "own_choice").benchmarks
    assert [file.name for file in files_of(benchmark)] == ["choice.yaml", "helpers.py", "rows.jsonl", "written.yaml"]


def test_keys_of_other_kinds_are_refused(folder: Path) -> None:
    for keys, message in (
        ({"max_tokens": 9}, "max_tokens is what its task files say"),
        ({"tasks": []}, "lm-eval needs `tasks`"),
        ({"kind": "arc"}, "tasks is for kind lm-eval"),
    ):
        with pytest.raises(ValueError, match=message):
            section_of(folder, **{"kind": "lm-eval", "tasks": ["a"], **keys})


def test_the_steps_of_a_run_write_the_records_of_start(folder: Path, tiny_model: Path, tmp_path: Path) -> None:
    pytest.importorskip("lm_eval", reason="needs the lm-eval extra: pip install 'hrlaif[lm-eval]'")
    evaluation = section_of(folder, "own_choice", "own_written")
    config = Config(
        name="b", run_dir=str(tmp_path / "run"), model=ModelSection(name=str(tiny_model)), evaluation=evaluation
    )
    with Run(config) as run:
        steps = [step for step in plan(STAGES, config) if step.stage.name in ("benchmark_items", "benchmarks")]
        for step in steps[:2]:
            step.stage.make(run, step)
    assert [step.arm for step in steps[:2]] == [None, "start"]
    rows = list(read_records(tmp_path / "run/start/benchmarks.jsonl", BenchmarkResult))
    assert [row.benchmark for row in rows] == ["own/own_choice"] * 3 + ["own/own_written"] * 3


def test_without_the_extra_one_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "lm_eval", None)
    for name in [name for name in sys.modules if name.startswith("lm_eval.") or name == "hrlaif.models.harness"]:
        monkeypatch.delitem(sys.modules, name)
    with Run(Config(name="b", run_dir=str(tmp_path))) as run, pytest.raises(ConfigError, match=r"hrlaif\[lm-eval\]"):
        run.harness  # noqa: B018
