"""Tests of the prompts that measure the policy, and of which policy is kept."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest
import torch

from hrlaif.config import LoraSection, PolicySection
from hrlaif.nn.backbone import placement
from hrlaif.nn.checkpoint import Checkpoints, trained_tensors
from hrlaif.policy.actors import Actors, Question
from hrlaif.policy.held_out import HeldOut, hold_out
from hrlaif.policy.training import Training
from hrlaif.types import Message, Prompt, Task

PLACE = placement("cpu", "auto")
PROMPTS = [Prompt(f"p{number}", (Message("user", f"say {number}"),), "chat", Task.OPEN) for number in range(40)]
SECTION = PolicySection(
    lora=LoraSection(layers=1), steps=8, rollouts=4, minibatch=4, max_tokens=4, learning_rate=5e-3, measure_every=2,
    held_out=4, kl_weight=0.5, no_eos_penalty=0.0, checkpoint_every=100,
)  # fmt: skip


def test_a_tenth_of_the_prompts_at_most_is_held_out_the_same_whatever_their_order_and_none_of_a_few() -> None:
    questions = [Question(prompt, (1,)) for prompt in PROMPTS]
    train, held_out = hold_out(questions, PolicySection())
    assert (len(train), len(held_out)) == (36, 4)
    assert not {one.prompt.id for one in train} & {one.prompt.id for one in held_out}
    backwards = hold_out(questions[::-1], PolicySection())[1]
    assert {one.prompt.id for one in backwards} == {one.prompt.id for one in held_out}
    assert hold_out(questions[:39], PolicySection()) == (questions[:39], [])
    assert hold_out(questions, PolicySection(held_out=3)) == (questions, [])


class Tells:
    """Scores for the measured prompts told beforehand, one number for each time they are measured."""

    def __init__(self, told: list[float], measured: set[tuple[Message, ...]]) -> None:
        self.told, self.measured = iter(told), measured

    def score(self, conversations: Iterable[tuple[tuple[Message, ...], str]]) -> list[float]:
        """The next number for measured prompts (a little more for one of them, so that they vary), 0 for others."""
        asked = [messages for messages, _ in conversations]
        if asked[0] not in self.measured:
            return [0.0 for _ in asked]
        number = next(self.told)
        return [number + (1.0 if place == 0 else 0.0) for place in range(len(asked))]


def trained(tiny_model: Path, folder: Path, told: list[float], section: PolicySection) -> tuple[Training, int]:
    folder.mkdir()
    out = {one.prompt.messages for one in hold_out([Question(prompt, (1,)) for prompt in PROMPTS], section)[1]}
    actors = Actors(str(tiny_model), Tells(told, out), section, PLACE, seed=0)
    training = Training(PROMPTS, actors, section, seed=0)
    checkpoints = Checkpoints(folder / "c", settings="s")
    training.run(checkpoints, folder / "metrics.jsonl")
    last = {name: tensor.clone() for name, tensor in trained_tensors(training.modules).items()}
    saved = {path.name: torch.load(path / "state.pt")["tensors"] for path in (folder / "c").iterdir()}
    kept = training.take_kept(checkpoints)
    expected = saved[f"step-{kept:06d}"] if kept < section.steps else last
    for name, tensor in trained_tensors(training.modules).items():
        assert torch.equal(tensor, expected[name])
    assert kept == section.steps or any(not torch.equal(last[name], expected[name]) for name in last)
    return training, kept


def test_the_policy_of_the_best_measured_step_is_kept(tiny_model: Path, tmp_path: Path) -> None:
    # Start, then steps 2, 4, 6 and 8: the best is the first of them, whose checkpoint outlives two newer ones.
    training, kept = trained(tiny_model, tmp_path / "first", [0.0, 4.5, 3.0, 2.0, 4.0], SECTION)
    assert kept == 2
    assert training.held_out.best["step"] == 2
    assert trained(tiny_model, tmp_path / "end", [0.0, 1.0, 3.0, 2.0, 4.5], SECTION)[1] == 8
    last = SECTION.model_copy(update={"keep": "last"})
    assert trained(tiny_model, tmp_path / "last", [0.0, 4.5, 3.0, 2.0, 4.0], last)[1] == 8


def test_the_measure_is_what_is_paid_on_the_scale_of_the_start_less_the_kl(tiny_model: Path, tmp_path: Path) -> None:
    curve = trained(tiny_model, tmp_path / "t", [1.0, 2.0, 2.0, 2.0, 2.0], SECTION)[0]
    start = curve.held_out.start
    # Scores 2, 1, 1, 1 at the start: mean 1.25, deviation sqrt(0.75 / 4) = 0.433013. One more everywhere is 2.309401.
    assert start["held_out_reward"] == 1.25
    assert start["held_out_objective"] == pytest.approx(0.0, abs=1e-4)
    best = curve.held_out.best
    assert best["held_out_reward"] == 2.25
    assert best["held_out_objective"] == pytest.approx(2.309401 - 0.5 * best["held_out_kl"], abs=1e-4)


def test_the_same_policy_measures_the_same_each_time(tiny_model: Path) -> None:
    questions = [Question(prompt, tuple(range(3, 9))) for prompt in PROMPTS[:4]]

    class Length:
        def score(self, conversations: Iterable[tuple[tuple[Message, ...], str]]) -> list[float]:
            """The number of characters."""
            return [float(len(text)) for _, text in conversations]

    actors = Actors(str(tiny_model), Length(), SECTION, PLACE, seed=0)
    held_out = HeldOut(questions, SECTION, seed=3)
    assert held_out.measure(actors, step=0) == held_out.measure(actors, step=2)
    assert [step for step in range(1, 9) if held_out.is_due(step)] == [2, 4, 6, 8]
    assert not HeldOut([], SECTION, seed=3).is_due(8)
