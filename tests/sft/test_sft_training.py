"""Tests of supervised fine-tuning."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from hrlaif.config import LoraSection, SftSection
from hrlaif.errors import DataError
from hrlaif.models.base import Decoding, SampleRequest
from hrlaif.models.local import LocalSampler
from hrlaif.nn.backbone import placement
from hrlaif.nn.checkpoint import Checkpoints, trained_tensors
from hrlaif.nn.epochs import Epochs
from hrlaif.sft import train
from hrlaif.sft.training import Training, render
from hrlaif.types import Demonstration, Finish, Message, Prompt, Split, Task

FAST = SftSection(learning_rate=1e-2, examples_per_step=4, checkpoint_every=2, lora=LoraSection(dropout=0.1))


def demonstrations(count: int, split: Split = Split.TRAIN) -> list[Demonstration]:
    """Each question has an answer of its own, of a length of its own."""
    words = ("red", "green", "blue", "a dog", "a cat", "ten", "no", "yes, it is")
    return [
        Demonstration(
            Prompt(f"p{number}", (Message("user", f"say {number}"),), "chat", Task.OPEN, split=split),
            words[number % len(words)],
        )
        for number in range(count)
    ]


def test_eight_examples_are_learnt_by_heart_and_the_folder_answers_them(tiny_model: Path, tmp_path: Path) -> None:
    section = FAST.model_copy(update={"epochs": 40, "examples_per_step": 8, "lora": LoraSection(rank=0)})
    learnt = demonstrations(8)
    # Held-out demonstrations that are also in training: the measure must see that they are known by heart.
    held_out = demonstrations(8, Split.EVALUATION)
    summary = train([*learnt, *held_out], base=str(tiny_model), section=section, out=tmp_path, seed=0, device="cpu")
    held = summary["held_out"]
    assert held["loss"]["value"] < 0.05 < held["loss_before"]["value"]
    assert held["perplexity"] == pytest.approx(math.exp(held["loss"]["value"]))
    assert held["loss_change"]["high"] < 0
    # A letter is a token, and each response ends with the end token.
    assert (held["examples"], held["tokens"]) == (8, sum(len(one.response) + 1 for one in learnt))
    assert json.loads((tmp_path / "summary.json").read_text()) == summary
    assert not (tmp_path / "checkpoints").exists()
    assert not (tmp_path / "adapter_config.json").exists()

    sampler = LocalSampler(str(tmp_path), device="cpu")
    requests = [SampleRequest(one.prompt, one.prompt.id, 0) for one in learnt]
    answers = list(sampler.sample(requests, Decoding(0.0, 1.0, 20)))
    assert [one.text for one in answers] == [one.response for one in learnt]
    assert {one.finish for one in answers} == {Finish.STOP}


@pytest.mark.parametrize("rank", [4, 0])
def test_the_folder_holds_a_whole_model_that_plain_transformers_runs_alike(
    tiny_model: Path, tmp_path: Path, rank: int
) -> None:
    section = SftSection(learning_rate=1e-2, examples_per_step=4, lora=LoraSection(rank=rank))
    training = Training(str(tiny_model), section, placement("cpu", "auto"), seed=0)
    rendered = render(demonstrations(8), training.backbone.chat, max_tokens=100).fit
    training.run(rendered, Checkpoints(tmp_path / "c", settings="s"), tmp_path / "m.jsonl")
    train(demonstrations(8), base=str(tiny_model), section=section, out=tmp_path / "out", seed=0, device="cpu")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "out").eval()
    assert model.generation_config.eos_token_id == [2]
    tokens = torch.tensor([[1, 5, 6, 7, 8, 9]])
    with torch.no_grad():
        ours = training.backbone.model(input_ids=tokens).logits
        start = AutoModelForCausalLM.from_pretrained(tiny_model)(input_ids=tokens).logits
        torch.testing.assert_close(model(input_ids=tokens).logits, ours, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(ours, start, atol=1e-2)


def test_the_loss_is_the_mean_over_response_tokens_and_its_gradient_that_of_masked_labels(tiny_model: Path) -> None:
    section = SftSection(lora=LoraSection(rank=0), batch_tokens=64)
    training = Training(str(tiny_model), section, placement("cpu", "auto"), seed=0)
    rendered = render(demonstrations(4), training.backbone.chat, max_tokens=100).fit
    found = sum(training.accumulate([one], training.size(rendered))["loss"] for one in rendered[:2])
    # The two others in one batch, of unequal lengths.
    found += training.accumulate(rendered[2:], training.size(rendered))["loss"]

    model = AutoModelForCausalLM.from_pretrained(tiny_model)
    total, count = torch.zeros(()), 0
    for one in rendered:
        tokens = torch.tensor([[*one.prompt, *one.response]])
        logits = model(input_ids=tokens).logits[0].log_softmax(dim=-1)
        # A token's loss stands one place before it: prompt tokens are predicted nowhere, the end token is.
        for place in range(len(one.prompt), tokens.shape[1]):
            total = total - logits[place - 1, tokens[0, place]]
            count += 1
    assert count == sum(len(one.response) for one in rendered)
    assert rendered[0].response[-1] == training.backbone.chat.end_id
    assert found == pytest.approx(float(total.detach()) / count, rel=1e-5)
    (total / count).backward()
    theirs = dict(model.named_parameters())
    for name, parameter in training.backbone.model.named_parameters():
        torch.testing.assert_close(parameter.grad, theirs[name].grad, atol=1e-6, rtol=1e-3)


def test_the_prediction_of_prompt_tokens_gets_no_gradient(tiny_model: Path) -> None:
    training = Training(str(tiny_model), SftSection(), placement("cpu", "auto"), seed=0)
    (one,) = render(demonstrations(1), training.backbone.chat, max_tokens=100).fit
    seen: list[torch.Tensor] = []
    head = training.backbone.inner.get_output_embeddings()
    hook = head.register_forward_hook(lambda _module, inputs, _out: seen.append(inputs[0]))
    training.accumulate([one], 1.0)
    hook.remove()
    # The head is only asked at the places that predict a response token.
    assert [hidden.shape[0] for hidden in seen] == [len(one.response)]


class DiedError(Exception):
    """Stands for a process that dies."""


class DiesAfterSaving(Checkpoints):
    """Checkpoints of a process that dies right after its first one is written."""

    def save(self, step: int, state: dict[str, Any], also: Callable[[Path], None] | None = None) -> None:
        super().save(step, state, also)
        raise DiedError


def run(tiny_model: Path, out: Path, kind: type[Checkpoints]) -> tuple[dict[str, torch.Tensor], list[str]]:
    training: Epochs[Any] = Training(str(tiny_model), FAST, placement("cpu", "auto"), seed=0)
    rendered = render(demonstrations(20), training.backbone.chat, max_tokens=100).fit
    out.mkdir(exist_ok=True)
    curve = training.run(rendered, kind(out / "checkpoints", settings="s"), out / "metrics.jsonl")
    return trained_tensors(training.backbone.model), [json.dumps({**row, "seconds": 0}) for row in curve]


def test_a_fine_tuning_that_died_ends_as_if_it_had_not(tiny_model: Path, tmp_path: Path) -> None:
    with pytest.raises(DiedError):
        run(tiny_model, tmp_path / "broken", DiesAfterSaving)
    assert len((tmp_path / "broken" / "metrics.jsonl").read_text().splitlines()) == 2
    tensors, curve = run(tiny_model, tmp_path / "broken", Checkpoints)
    expected_tensors, expected_curve = run(tiny_model, tmp_path / "whole", Checkpoints)
    assert curve == expected_curve
    assert len(curve) == 5
    assert all(torch.equal(tensor, expected_tensors[name]) for name, tensor in tensors.items())


def test_the_curve_also_goes_to_event_files(
    tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options: dict[str, Any] = {"section": FAST, "out": tmp_path / "out", "seed": 0, "device": "cpu"}
    train(demonstrations(4), base=str(tiny_model), tensorboard=True, **options)
    said = capsys.readouterr().err
    assert (tmp_path / "out" / "tensorboard").exists() or "pip install 'hrlaif[tensorboard]'" in said


def test_a_base_model_gets_the_plain_template_and_keeps_it(tiny_model: Path, tmp_path: Path) -> None:
    base = shutil.copytree(tiny_model, tmp_path / "base")
    tokenizer = AutoTokenizer.from_pretrained(base)
    tokenizer.chat_template = None
    shutil.rmtree(base / "chat_template.jinja", ignore_errors=True)
    (base / "chat_template.jinja").unlink(missing_ok=True)
    tokenizer.save_pretrained(base)
    with pytest.warns(UserWarning, match="no chat template, so a plain one is used and saved"):
        summary = train(demonstrations(4), base=str(base), section=FAST, out=tmp_path / "out", seed=0, device="cpu")
    assert summary["chat_template"] == "plain, since the tokenizer had none"
    turns = [{"role": "user", "content": "hi"}]
    shown = AutoTokenizer.from_pretrained(tmp_path / "out").apply_chat_template(
        turns, add_generation_prompt=True, tokenize=False
    )
    assert shown == "user:\nhi\n\nassistant:\n"


def test_a_response_that_does_not_fit_is_left_out_and_none_left_is_an_error(tiny_model: Path, tmp_path: Path) -> None:
    chat = Training(str(tiny_model), FAST, placement("cpu", "auto"), seed=0).backbone.chat
    long = Demonstration(demonstrations(1)[0].prompt, "x" * 50)
    rendered = render([*demonstrations(2), long], chat, max_tokens=40)
    assert (len(rendered.fit), rendered.too_long) == (2, 1)
    section = FAST.model_copy(update={"max_tokens": 40})
    with pytest.raises(DataError, match=r"no demonstration to train on: 1 have a response of more than 40 tokens"):
        train([long], base=str(tiny_model), section=section, out=tmp_path, seed=0, device="cpu")


def test_a_disk_without_room_for_the_model_is_noticed_before_training(tiny_model: Path, small_disk: Path) -> None:
    with pytest.raises(DataError, match=r"checkpoints need up to 0\.0 GB, and 0\.0 GB are free"):
        train(demonstrations(8), base=str(tiny_model), section=FAST, out=small_disk / "o", seed=0, device="cpu")
    assert not (small_disk / "o" / "metrics.jsonl").exists()
