"""Tests of which model a run starts from, and of what it notices first."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from hrlaif.config import parse
from hrlaif.errors import ConfigError
from hrlaif.make import make_prompts
from hrlaif.models.http_sampler import HttpSampler
from hrlaif.pipeline import STAGES
from hrlaif.plan import plan
from hrlaif.run import Run

SFT = {"sources": [{"path": "shown.jsonl"}]}


def opened(folder: Path, **values: object) -> Run:
    return Run(parse({"run_dir": str(folder), **values}, where="test"))


def test_a_fine_tuned_run_starts_everything_from_the_fine_tuned_model(tmp_path: Path, tiny_model: Path) -> None:
    shutil.copytree(tiny_model, tmp_path / "sft")
    # Named "bundled", training responses would come from llama.cpp, which holds the model as it was.
    for name in ("bundled", "some/model"):
        with opened(tmp_path, model={"name": name, "device": "cpu"}, sft=SFT) as run:
            assert run.base_model == str(tmp_path / "sft")
            sampler, _ = run.training_sampler()
            assert sampler.name == run.contestant("start").name == "sft"
    with opened(tmp_path, model={"name": "some/model"}, sft=SFT) as run:
        assert run.pretrained_model == "some/model"
    with opened(tmp_path, model={"name": "some/model"}) as run:
        assert run.base_model == "some/model"


def test_an_endpoint_that_draws_responses_beside_a_fine_tuning_is_spoken_of(tmp_path: Path) -> None:
    endpoint = {"url": "http://127.0.0.1:9/v1", "model": "policy"}
    with opened(tmp_path, sft=SFT, responses={"endpoint": endpoint}) as run:
        with pytest.warns(UserWarning, match=r"'policy' at responses\.endpoint: it must serve .*sft"):
            sampler, _ = run.training_sampler()
    assert isinstance(sampler, HttpSampler)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({"path": "./gone"}, r"evaluation\.models: \./gone: no model there"),
        ({"path": "runs/other/hrlaif/policy"}, r"evaluation\.models: runs/other/hrlaif/policy: no model there"),
        ({"url": "http://127.0.0.1:9/v1", "model": "m", "key_env": "NO_SUCH_KEY"}, "NO_SUCH_KEY is not set"),
    ],
)
def test_a_model_to_compare_with_that_cannot_answer_is_named_before_anything_is_paid(
    tmp_path: Path, model: dict[str, str], message: str
) -> None:
    with opened(tmp_path / "r", evaluation={"models": [{"name": "other", **model}]}) as run:
        step = next(step for step in plan(STAGES, run.config) if step.stage.name == "prompts")
        with pytest.raises(ConfigError, match=message):
            make_prompts(run, step)
        assert not step.path.exists()


@pytest.mark.parametrize("file", ["config.json", "adapter_config.json"])
def test_a_model_to_compare_with_may_be_a_model_an_adapter_or_a_name_on_the_hub(tmp_path: Path, file: str) -> None:
    there = tmp_path / "runs" / "other" / "policy"
    there.mkdir(parents=True)
    (there / file).write_text("{}")
    named = [{"name": "folder", "path": str(there)}, {"name": "hub", "path": "some/model"}]
    with opened(tmp_path / "r", evaluation={"models": named}) as run:
        step = next(step for step in plan(STAGES, run.config) if step.stage.name == "prompts")
        make_prompts(run, step)
        assert step.path.exists()
