"""Tests of checkpoints: whole or absent, and only for the training that wrote them."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest
import torch

from hrlaif.nn.checkpoint import Checkpoints, Curve, restore_tensors, trained_tensors

CPU = torch.device("cpu")


def test_the_newest_checkpoint_is_loaded_and_old_ones_go(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path / "c", settings="s")
    for step in (2, 4, 6):
        checkpoints.save(step, {"x": torch.tensor([float(step)])})
    state = checkpoints.load(CPU)
    assert state is not None
    assert (state["step"], state["x"].tolist()) == (6, [6.0])
    assert sorted(path.name for path in (tmp_path / "c").iterdir()) == ["step-000004", "step-000006"]


def test_a_checkpoint_cut_off_while_it_was_written_is_passed_over(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path / "c", settings="s")
    checkpoints.save(2, {})
    checkpoints.save(4, {})
    unfinished = tmp_path / "c" / "step-000006.tmp"
    unfinished.mkdir()
    (unfinished / "state.pt").write_bytes(b"half")
    damaged = tmp_path / "c" / "step-000004" / "state.pt"
    damaged.write_bytes(damaged.read_bytes()[:100])
    state = checkpoints.load(CPU)
    assert state is not None
    assert state["step"] == 2


def test_a_checkpoint_that_is_to_be_kept_outlives_newer_ones_and_can_be_read(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path / "c", settings="s")
    for step in (2, 4, 6, 8):
        checkpoints.save(step, {"x": step}, keep=[2])
    assert sorted(path.name for path in (tmp_path / "c").iterdir()) == ["step-000002", "step-000006", "step-000008"]
    state = checkpoints.load_step(2, CPU)
    assert state is not None
    assert state["x"] == 2
    assert checkpoints.load_step(4, CPU) is None
    assert Checkpoints(tmp_path / "c", settings="other").load_step(2, CPU) is None


def test_checkpoints_of_other_settings_are_not_loaded(tmp_path: Path) -> None:
    Checkpoints(tmp_path / "c", settings="one").save(2, {})
    assert Checkpoints(tmp_path / "c", settings="other").load(CPU) is None


def test_a_checkpoint_of_the_same_step_is_replaced_and_a_finished_training_leaves_none(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path / "c", settings="s")
    checkpoints.save(2, {"x": 1})
    checkpoints.save(2, {"x": 2}, also=lambda folder: (folder / "model").mkdir())
    state = checkpoints.load(CPU)
    assert state is not None
    assert state["x"] == 2
    assert (tmp_path / "c" / "step-000002" / "model").is_dir()
    checkpoints.clear()
    assert checkpoints.load(CPU) is None


def test_trained_tensors_come_back_in_place(tmp_path: Path) -> None:
    module = torch.nn.Linear(2, 1)
    module.bias.requires_grad_(False)
    saved = {name: tensor.clone() for name, tensor in trained_tensors(module).items()}
    assert list(saved) == ["weight"]
    weight = module.weight
    with torch.no_grad():
        weight.zero_()
    restore_tensors(module, saved)
    assert module.weight is weight
    assert torch.equal(weight, saved["weight"])


def test_the_curve_is_cut_back_to_the_checkpoint_and_a_torn_line_goes(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    curve = Curve(path, steps_done=0)
    for step in (1, 2, 3):
        curve.add({"step": step})
    with path.open("a") as file:
        file.write('{"step": 4, "torn')
    resumed = Curve(path, steps_done=2)
    resumed.add({"step": 3})
    assert [row["step"] for row in resumed.rows()] == [1, 2, 3]
    assert [json.loads(line)["step"] for line in path.read_text().splitlines()] == [1, 2, 3]


def test_event_files_hold_the_curve_also_after_a_resume(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="needs the tensorboard extra")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    path = tmp_path / "metrics.jsonl"
    for done in (0, 2):
        curve = Curve(path, steps_done=done, events=True)
        for step in range(done + 1, 4):
            curve.add({"step": step, "loss": step / 2})
    found = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert found.Tags()["scalars"] == ["loss"]
    assert [(event.step, event.value) for event in found.Scalars("loss")] == [(1, 0.5), (2, 1.0), (3, 1.5)]


@pytest.mark.skipif(importlib.util.find_spec("tensorboard") is not None, reason="TensorBoard is installed here")
def test_without_tensorboard_the_curve_is_written_all_the_same_and_one_line_says_what_to_install(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    curve = Curve(tmp_path / "metrics.jsonl", steps_done=0, events=True)
    curve.add({"step": 1, "loss": 0.5})
    assert curve.rows() == [{"step": 1, "loss": 0.5}]
    assert "pip install 'hrlaif[tensorboard]'" in capsys.readouterr().err
    assert not (tmp_path / "tensorboard").exists()
