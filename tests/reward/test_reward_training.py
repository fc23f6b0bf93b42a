"""Tests of training a reward model."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from hrlaif.config import EarlyStopSection, LoraSection, RewardSection
from hrlaif.errors import DataError, ModelError
from hrlaif.models.local import LocalReward
from hrlaif.nn.backbone import placement
from hrlaif.nn.checkpoint import Checkpoints, trained_tensors
from hrlaif.reward import train
from hrlaif.reward.data import TokenPair, render
from hrlaif.reward.training import Training
from hrlaif.types import Basis, Message, Pair

FAST = RewardSection(learning_rate=1e-2, pairs_per_step=8, checkpoint_every=2, lora=LoraSection(dropout=0.1))


def pairs(count: int = 32) -> list[Pair]:
    """Responses in capitals are better; both sides have all lengths."""
    return [
        Pair(
            f"p{number}",
            (Message("user", f"say {number}"),),
            "YES " * (1 + number % 3),
            "no " * (1 + (number // 3) % 3),
            0.95,
            Basis.JUDGE if number % 2 else Basis.VERIFIER,
            "chat",
        )
        for number in range(count)
    ]


def test_a_reward_model_learns_and_says_how_well(tiny_model: Path, tmp_path: Path) -> None:
    section = FAST.model_copy(update={"epochs": 3, "held_out": 0.25})
    summary = train(pairs(), base=str(tiny_model), section=section, out=tmp_path, seed=0, device="cpu")
    held = summary["held_out"]
    assert held["accuracy"]["value"] > held["baselines"]["longer wins"]["value"]
    assert held["accuracy"]["value"] >= 0.8
    assert held["pairs"] + summary["train_pairs"] == summary["pairs"] == 32
    assert json.loads((tmp_path / "summary.json").read_text()) == summary
    curve = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in curve] == list(range(1, summary["steps"] + 1))
    assert curve[-1]["loss"] < curve[0]["loss"]
    card = (tmp_path / "README.md").read_text()
    assert f"{held['accuracy']['value']:.1%}" in card
    assert str(tiny_model) in card
    assert not (tmp_path / "checkpoints").exists()


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("rank", [4, 0])
@torch.no_grad()
def test_plain_transformers_and_peft_give_the_same_scores(tiny_model: Path, tmp_path: Path, rank: int) -> None:
    section = FAST.model_copy(update={"lora": LoraSection(rank=rank)})
    with torch.enable_grad():
        train(pairs(16), base=str(tiny_model), section=section, out=tmp_path, seed=0, device="cpu")
    texts = ["YES YES", "no", "a much longer answer than the others"]
    messages = (Message("user", "say 3"),)
    ours = LocalReward(tmp_path, device="cpu").score([(messages, text) for text in texts])

    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    where = tiny_model if rank else tmp_path
    model = AutoModelForSequenceClassification.from_pretrained(where, num_labels=1)
    model.config.pad_token_id = tokenizer.pad_token_id
    if rank:
        model = PeftModel.from_pretrained(model, tmp_path)
    turns = [{"role": "user", "content": "say 3"}]
    prompt = tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=False)
    ids = tokenizer([prompt + text + "<|im_end|>" for text in texts], return_tensors="pt", padding=True)
    theirs = model.eval()(input_ids=ids["input_ids"], attention_mask=ids["attention_mask"]).logits[:, 0]
    assert ours == pytest.approx(theirs.tolist(), abs=1e-5)
    assert len({round(score, 4) for score in ours}) == 3


class DiedError(Exception):
    """Stands for a process that dies."""


class DiesAfterSaving(Checkpoints):
    """Checkpoints of a process that dies right after its first one is written."""

    def save(self, step: int, state: dict[str, Any], also: Callable[[Path], None] | None = None) -> None:
        super().save(step, state, also)
        raise DiedError


def run(
    tiny_model: Path, out: Path, kind: type[Checkpoints], section: RewardSection = FAST
) -> tuple[dict[str, torch.Tensor], list[str]]:
    """Trained tensors and curve (without times) of a training that starts, or goes on, in `out`."""
    training = Training(str(tiny_model), section, placement("cpu", "auto"), seed=0)
    rendered = render(pairs(), training.backbone.chat, max_tokens=100)
    out.mkdir(exist_ok=True)
    stop = training.early_stop(rendered[:8])
    training.run(rendered, kind(out / "checkpoints", settings="s"), out / "metrics.jsonl", stop)
    curve = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return trained_tensors(training.backbone.model), [json.dumps({**row, "seconds": 0}) for row in curve]


def test_a_training_that_died_ends_as_if_it_had_not(tiny_model: Path, tmp_path: Path) -> None:
    with pytest.raises(DiedError):
        run(tiny_model, tmp_path / "broken", DiesAfterSaving)
    assert len((tmp_path / "broken" / "metrics.jsonl").read_text().splitlines()) == 2
    tensors, curve = run(tiny_model, tmp_path / "broken", Checkpoints)
    expected_tensors, expected_curve = run(tiny_model, tmp_path / "whole", Checkpoints)
    assert curve == expected_curve
    assert all(torch.equal(tensor, expected_tensors[name]) for name, tensor in tensors.items())


# Each step changes much, so that the held-out loss goes up and down.
STOPS = FAST.model_copy(
    update={
        "epochs": 10,
        "learning_rate": 0.2,
        "early_stop": EarlyStopSection(every=1, patience=3),
        "checkpoint_every": 3,
    }
)


def test_early_stopping_keeps_the_weights_with_the_lowest_held_out_loss(tiny_model: Path, tmp_path: Path) -> None:
    tensors, curve = run(tiny_model, tmp_path / "stopped", Checkpoints, STOPS)
    losses = [json.loads(row)["held_out_loss"] for row in curve]
    best = losses.index(min(losses))
    # It ended three looks after the best one, and before its 40 steps were over.
    assert len(losses) == best + 4 < 40
    # The kept weights are those of a training that was cut off at the best step.
    training = Training(str(tiny_model), STOPS, placement("cpu", "auto"), seed=0)
    rendered = render(pairs(), training.backbone.chat, max_tokens=100)
    for index in range(best + 1):
        training.step(rendered, index, training.steps(rendered))
    assert all(torch.equal(tensor, tensors[name]) for name, tensor in trained_tensors(training.backbone.model).items())


def test_an_early_stop_that_died_ends_as_if_it_had_not(tiny_model: Path, tmp_path: Path) -> None:
    expected_tensors, expected_curve = run(tiny_model, tmp_path / "whole", Checkpoints, STOPS)
    for _ in range(20):
        try:
            tensors, curve = run(tiny_model, tmp_path / "broken", DiesAfterSaving, STOPS)
        except DiedError:
            continue
        break
    assert curve == expected_curve
    assert all(torch.equal(tensor, expected_tensors[name]) for name, tensor in tensors.items())


def gradient(training: Training, items: list[TokenPair]) -> torch.Tensor:
    training.head.weight.grad = None
    training.accumulate(items, 1.0)
    assert training.head.weight.grad is not None
    return training.head.weight.grad.clone()


def test_a_weight_of_2_is_the_pair_twice_and_a_margin_asks_for_a_lead(tiny_model: Path) -> None:
    training = Training(str(tiny_model), FAST, placement("cpu", "auto"), seed=0)
    one = render(pairs(1), training.backbone.chat, max_tokens=100)[0]
    twice = dataclasses.replace(one, weight=2.0)
    torch.testing.assert_close(gradient(training, [twice]), gradient(training, [one, one]))
    scores = training.measure([one])
    lead = scores["mean_score_chosen"] - scores["mean_score_rejected"]
    # With the margin at lead - log(p / (1 - p)) and no centring the loss is smallest right here.
    training.section = FAST.model_copy(update={"centring": 0.0})
    there = dataclasses.replace(one, margin=lead - math.log(0.95 / 0.05))
    assert float(gradient(training, [there]).abs().max()) < 1e-5
    assert float(gradient(training, [one]).abs().max()) > 1e-3


def test_the_summary_counts_weights_and_says_which_step_was_kept(tiny_model: Path, tmp_path: Path) -> None:
    section = STOPS.model_copy(update={"held_out": 0.25, "weights": {"verifier": 3.0}, "margin": {"judge": 0.5}})
    summary = train(pairs(), base=str(tiny_model), section=section, out=tmp_path, seed=0, device="cpu")
    weights = summary["weights"]
    assert weights["by_basis"]["verifier"]["weight_share"] > 0.6
    assert weights["effective_pairs"] < summary["train_pairs"]
    assert summary["margin"] == {"judge": 0.5}
    curve = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert summary["steps"] == len(curve)
    assert summary["best_held_out_loss"] == curve[summary["best_step"] - 1]["held_out_loss"]
    assert summary["held_out"]["calibration"]["curve"]


def test_no_pairs_is_an_error(tiny_model: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no preference pairs"):
        train([], base=str(tiny_model), section=FAST, out=tmp_path, seed=0, device="cpu")


def test_a_training_that_diverges_says_so(tiny_model: Path, tmp_path: Path) -> None:
    section = FAST.model_copy(update={"learning_rate": 1e30, "max_grad_norm": 1e30, "epochs": 3})
    with pytest.raises(ModelError, match=r"reward model, step \d+ of .* diverged .* Lower learning_rate"):
        train(pairs(), base=str(tiny_model), section=section, out=tmp_path, seed=0, device="cpu")


def test_neither_the_size_of_a_pass_nor_recomputing_layers_changes_a_result(tiny_model: Path, tmp_path: Path) -> None:
    scores = []
    for batch_tokens, recompute in ((0, False), (64, False), (0, True)):
        lora = LoraSection(gradient_checkpointing=recompute)
        section = FAST.model_copy(update={"batch_tokens": batch_tokens, "lora": lora})
        out = tmp_path / f"{batch_tokens} {recompute}"
        train(pairs(16), base=str(tiny_model), section=section, out=out, seed=0, device="cpu")
        scores.append(
            LocalReward(out, device="cpu").score([((Message("user", "x"),), "YES"), ((Message("user", "y"),), "no")])
        )
    assert scores[1:] == [pytest.approx(scores[0], abs=1e-3)] * 2
