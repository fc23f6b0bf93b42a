"""Tests of checkpoints: whole or absent, and only for the training that wrote them."""

from __future__ import annotations

import json
from pathlib import Path

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
