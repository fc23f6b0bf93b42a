"""Tests of PPO: that it learns what it is paid for, says what happens, and survives being killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from hrlaif.config import LoraSection, PolicySection
from hrlaif.errors import DataError, ModelError
from hrlaif.models.base import Decoding, SampleRequest
from hrlaif.models.local import LocalSampler
from hrlaif.nn.backbone import placement
from hrlaif.nn.checkpoint import Checkpoints
from hrlaif.policy import train
from hrlaif.policy.actors import Actors, Answered
from hrlaif.policy.scores import adapted_kl_weight
from hrlaif.policy.training import Training
from hrlaif.types import Message, Prompt, Task

PLACE = placement("cpu", "auto")
LORA = LoraSection(layers=1)
FAST = PolicySection(lora=LORA, steps=6, rollouts=8, minibatch=4, max_tokens=8, learning_rate=5e-3, checkpoint_every=2)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Sums in another order round differently; bit-equality needs one number of threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class PaysForHalfOfTheTokens(Actors):
    """Rewards the share of a response's tokens whose embedding is positive in one direction: at best all of them."""

    def scores(self, answered: Sequence[Answered]) -> torch.Tensor:
        """A score per response, 0..1."""
        pays_V = self.policy.inner.get_input_embeddings().weight[:, 0] > 0
        responses = [list(item.conversation.response) for item in answered]
        return torch.stack([pays_V[response].float().mean() for response in responses])


@pytest.mark.parametrize("lora", [LORA, LoraSection(rank=0)], ids=["adapter", "all weights"])
def test_ppo_learns_what_it_is_paid_for(
    tiny_model: Path, reward: Path, prompts: list[Prompt], tmp_path: Path, lora: LoraSection
) -> None:
    section = PolicySection(
        lora=lora, steps=16, rollouts=32, minibatch=16, epochs=2, max_tokens=8, learning_rate=1e-2, kl_weight=0.0
    )
    actors = PaysForHalfOfTheTokens(str(tiny_model), reward, section, PLACE, seed=0)
    training = Training(prompts, actors, section, seed=0)
    curve = training.run(Checkpoints(tmp_path / "c", settings="s"), tmp_path / "metrics.jsonl")
    assert curve[0]["reward"] < 0.55
    assert sum(row["reward"] for row in curve[-3:]) / 3 > 0.8
    assert curve[0]["kl"] == pytest.approx(0.0, abs=1e-3)
    assert curve[-1]["kl"] > 1.0


class PaysByPrompt(Actors):
    """A reward that only the prompt decides, so a critic can foresee it and a policy can do nothing about it."""

    def scores(self, answered: Sequence[Answered]) -> torch.Tensor:
        """1 for one kind of prompt, -1 for the other."""
        texts = [self.policy.chat.text(item.conversation.prompt) for item in answered]
        return torch.tensor([1.0 if "good" in text else -1.0 for text in texts])


def test_the_critic_learns_to_foresee_what_a_prompt_pays(tiny_model: Path, reward: Path, tmp_path: Path) -> None:
    prompts = [
        Prompt(f"p{n}", (Message("user", f"{n} {('good', 'evil')[n % 2]}"),), "chat", Task.OPEN) for n in range(12)
    ]
    section = PolicySection(
        steps=14, rollouts=24, minibatch=8, epochs=2, max_tokens=4, learning_rate=1e-2, value_weight=1.0, kl_weight=0.0
    )
    actors = PaysByPrompt(str(tiny_model), reward, section, PLACE, seed=0)
    curve = Training(prompts, actors, section, seed=0).run(
        Checkpoints(tmp_path / "c", settings="s"), tmp_path / "metrics.jsonl"
    )
    assert curve[0]["explained_variance"] == pytest.approx(0.0, abs=1e-6)
    assert curve[-1]["explained_variance"] > 0.5


def test_a_kl_penalty_holds_the_policy_near_its_start(
    tiny_model: Path, reward: Path, prompts: list[Prompt], tmp_path: Path
) -> None:
    kl = []
    for weight in (0.0, 2.0):
        section = FAST.model_copy(update={"steps": 12, "rollouts": 32, "minibatch": 16, "kl_weight": weight})
        actors = PaysForHalfOfTheTokens(str(tiny_model), reward, section, PLACE, seed=0)
        training = Training(prompts, actors, section, seed=0)
        curve = training.run(Checkpoints(tmp_path / str(weight), settings="s"), tmp_path / f"{weight}.jsonl")
        kl.append(curve[-1]["kl"])
    assert kl[1] < kl[0] / 3


def test_before_the_first_update_the_policy_is_the_one_that_made_the_rollouts(
    tiny_model: Path, reward: Path, prompts: list[Prompt], tmp_path: Path
) -> None:
    section = FAST.model_copy(update={"minibatch": 8, "steps": 3})
    curve = run(section, tiny_model, reward, prompts, tmp_path)
    for row in curve:
        assert row["updates"] == 1
        assert (row["approx_kl"], row["clip_fraction"]) == (0.0, 0.0)
        # What was computed token by token agrees with a pass over the whole text, also after updates.
        assert row["ratio_error"] < 1e-4


def run(
    section: PolicySection, tiny_model: Path, reward: Path, prompts: list[Prompt], out: Path
) -> list[dict[str, float]]:
    train(prompts, base=str(tiny_model), reward=reward, section=section, out=out, seed=0, device="cpu")
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


def test_a_policy_folder_answers_prompts_and_says_how_it_was_made(
    tiny_model: Path, reward: Path, prompts: list[Prompt], tmp_path: Path
) -> None:
    curve = run(FAST, tiny_model, reward, prompts, tmp_path)
    keys = {
        "step", "reward", "kl", "approx_kl", "clip_fraction", "entropy", "explained_variance", "response_tokens",
        "policy_loss", "value_loss", "eos_share", "grad_norm", "seconds", "tokens_per_s",
    }  # fmt: skip
    assert all(keys <= row.keys() for row in curve)
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert (summary["steps"], summary["rollouts"], summary["prompts"]) == (6, 48, 12)
    assert summary["last"] == curve[-1]
    assert str(tiny_model) in (tmp_path / "README.md").read_text()
    assert not (tmp_path / "checkpoints").exists()
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == str(tiny_model)
    request = [SampleRequest(prompts[0], "r", 1)]
    start = next(LocalSampler(str(tiny_model), device="cpu").sample(request, Decoding(max_tokens=20)))
    trained = next(
        LocalSampler(str(tiny_model), adapter=tmp_path, device="cpu").sample(request, Decoding(max_tokens=20))
    )
    assert trained.text != start.text


CHILD = """
import sys
from pathlib import Path
import torch
from safetensors.torch import load_file
torch.set_num_threads(1)
from hrlaif.config import PolicySection
from hrlaif.policy import train
from hrlaif.types import Message, Prompt, Task
prompts = [Prompt(f"p{n}", (Message("user", f"say {n}"),), "chat", Task.OPEN) for n in range(40)]
base, reward, out, section = sys.argv[1:]
section = PolicySection.model_validate_json(section)
train(prompts, base=base, reward=Path(reward), section=section, out=Path(out), seed=0, device="cpu")
"""


def test_a_training_killed_in_the_middle_ends_as_if_it_had_not_been(
    tiny_model: Path, reward: Path, tmp_path: Path
) -> None:
    section = FAST.model_copy(
        update={
            "steps": 16, "score_normalise": "running", "kl_target_nats": 1.0, "critic": "adapter", "measure_every": 3,
        }
    )  # fmt: skip
    prompts = [Prompt(f"p{n}", (Message("user", f"say {n}"),), "chat", Task.OPEN) for n in range(40)]
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    expected = run(section, tiny_model, reward, prompts, whole)
    arguments = [str(tiny_model), str(reward), str(killed), section.model_dump_json()]
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, *arguments],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stderr=subprocess.DEVNULL,
    )
    while not (killed / "checkpoints" / "step-000004").exists() and child.poll() is None:
        time.sleep(0.005)
    child.kill()
    assert child.wait() == -signal.SIGKILL
    done = max(int(path.name[5:11]) for path in (killed / "checkpoints").glob("step-??????"))
    assert 4 <= done < 16
    checkpoint = killed / "checkpoints" / f"step-{done:06d}"
    assert next(
        LocalSampler(str(checkpoint), device="cpu").sample([SampleRequest(prompts[0], "r", 1)], Decoding(max_tokens=4))
    ).text
    resumed = run(section, tiny_model, reward, prompts, killed)
    times = {"seconds": 0, "tokens_per_s": 0}
    assert [{**row, **times} for row in resumed] == [{**row, **times} for row in expected]
    assert [row["step"] for row in expected if "held_out_objective" in row] == [3, 6, 9, 12, 15, 16]
    assert (killed / "adapter_model.safetensors").read_bytes() == (whole / "adapter_model.safetensors").read_bytes()
    told = [json.loads((folder / "summary.json").read_text()) for folder in (whole, killed)]
    assert told[0]["kept"] == told[1]["kept"]
    assert told[0]["held_out"] == told[1]["held_out"]


def test_half_precision_trains_and_starts_each_step_from_the_policy_that_made_the_rollouts(
    tiny_model: Path, reward: Path, prompts: list[Prompt], tmp_path: Path
) -> None:
    section = FAST.model_copy(update={"steps": 2, "minibatch": 8})
    train(
        prompts, base=str(tiny_model), reward=reward, section=section, out=tmp_path, seed=0, device="cpu",
        dtype="bfloat16",
    )  # fmt: skip
    curve = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [row["approx_kl"] for row in curve] == [0.0, 0.0]
    assert all(row["ratio_error"] < 0.1 for row in curve)
    weights = load_file(tmp_path / "adapter_model.safetensors")
    assert {tensor.dtype for tensor in weights.values()} == {torch.float32}
    sampler = LocalSampler(str(tiny_model), adapter=tmp_path, device="cpu", dtype="bfloat16")
    assert next(sampler.sample([SampleRequest(prompts[0], "r", 1)], Decoding(max_tokens=4))).text


def test_a_prompt_that_is_too_long_is_cut_on_the_left_and_counted(
    tiny_model: Path, reward: Path, prompts: list[Prompt]
) -> None:
    section = FAST.model_copy(update={"max_prompt_tokens": 50})
    long = Prompt("long", (Message("user", "x" * 3000),), "chat", Task.OPEN)
    training = Training([*prompts, long], Actors(str(tiny_model), reward, section, PLACE, seed=0), section, seed=0)
    assert training.cut_prompts == 1
    assert len(training.questions[-1].tokens) == 50
    assert list(training.questions[-1].tokens) == training.actors.policy.chat.prompt_ids(long.messages)[-50:]
    # The model has 2048 positions, and the response needs 8 of them.
    training = Training([long], training.actors, FAST.model_copy(update={"max_prompt_tokens": 9999}), seed=0)
    assert len(training.questions[0].tokens) == 2040


def test_updates_stop_once_the_policy_has_moved_too_far(
    tiny_model: Path, reward: Path, prompts: list[Prompt], tmp_path: Path
) -> None:
    section = FAST.model_copy(update={"steps": 1, "epochs": 4, "learning_rate": 0.1, "stop_kl": 0.05})
    (row,) = run(section, tiny_model, reward, prompts, tmp_path / "stopped")
    assert 1 <= row["updates"] < 8
    (free,) = run(section.model_copy(update={"stop_kl": 0.0}), tiny_model, reward, prompts, tmp_path / "free")
    assert free["updates"] == 8


def test_the_size_of_a_pass_changes_no_result(
    tiny_model: Path, reward: Path, prompts: list[Prompt], tmp_path: Path
) -> None:
    section = FAST.model_copy(update={"steps": 2})
    small = run(section.model_copy(update={"batch_tokens": 60}), tiny_model, reward, prompts, tmp_path / "small")
    large = run(section, tiny_model, reward, prompts, tmp_path / "large")
    for one, other in zip(small, large, strict=True):
        for key in ("reward", "kl", "policy_loss", "value_loss", "entropy", "grad_norm"):
            assert one[key] == pytest.approx(other[key], abs=1e-3)


def test_every_prompt_comes_once_before_any_comes_again(tiny_model: Path, reward: Path, prompts: list[Prompt]) -> None:
    training = Training(prompts, Actors(str(tiny_model), reward, FAST, PLACE, seed=0), FAST, seed=0)
    drawn = [question.prompt.id for step in range(3) for question in training.questions_of(step)]
    assert len(set(drawn[:12])) == len(set(drawn[12:24])) == 12
    assert drawn[:12] != drawn[12:24]


def test_the_start_has_no_kl_to_itself_at_any_temperature_and_dropout_is_off(
    tiny_model: Path, reward: Path, prompts: list[Prompt], tmp_path: Path
) -> None:
    lora = LoraSection(layers=1, dropout=0.5)
    section = FAST.model_copy(update={"steps": 2, "minibatch": 8, "temperature": 0.6, "lora": lora})
    curve = run(section, tiny_model, reward, prompts, tmp_path)
    assert curve[0]["kl"] == pytest.approx(0.0, abs=1e-4)
    # The pass over the whole text would differ from decoding if anything were dropped, or at another temperature.
    assert all(row["ratio_error"] < 1e-4 for row in curve)


def test_the_kl_weight_of_each_step_follows_from_the_kl_of_the_one_before(
    tiny_model: Path, reward: Path, prompts: list[Prompt], tmp_path: Path
) -> None:
    section = FAST.model_copy(update={"kl_target_nats": 0.5, "kl_weight": 0.1, "steps": 4})
    curve = run(section, tiny_model, reward, prompts, tmp_path)
    assert curve[0]["kl_weight"] == 0.1
    # No KL at the start: a fifth less.
    assert curve[1]["kl_weight"] == pytest.approx(0.08)
    for row, after in pairwise(curve):
        expected = adapted_kl_weight(row["kl_weight"], row["kl"], target_nats=0.5)
        assert after["kl_weight"] == pytest.approx(expected)


def test_the_learning_rate_warms_up_and_falls_or_stays(
    tiny_model: Path, reward: Path, prompts: list[Prompt], tmp_path: Path
) -> None:
    section = FAST.model_copy(update={"steps": 4, "learning_rate": 0.008, "warmup_steps": 1})
    curve = run(section, tiny_model, reward, prompts, tmp_path / "linear")
    # Half of it while it warms up; all, three quarters, a half, a quarter of that.
    assert [row["learning_rate"] for row in curve] == pytest.approx([0.004, 0.006, 0.004, 0.002])
    constant = section.model_copy(update={"schedule": "constant"})
    curve = run(constant, tiny_model, reward, prompts, tmp_path / "constant")
    assert [row["learning_rate"] for row in curve] == pytest.approx([0.004, 0.008, 0.008, 0.008])


class CountsLetters:
    """Scores a text by how many of its characters are letters; on the n-th call it does what `faults` says."""

    def __init__(self, faults: dict[int, Exception | float] | None = None) -> None:
        self.faults, self.calls = faults or {}, 0

    def score(self, conversations: Iterable[tuple[tuple[Message, ...], str]]) -> list[float]:
        """A score per text."""
        self.calls += 1
        fault = self.faults.get(self.calls)
        if isinstance(fault, Exception):
            raise fault
        return [sum(c.isalpha() for c in text) / 8 if fault is None else fault for _, text in conversations]


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (float("nan"), r"PPO, step 5 of 6: the scores .* not finite.* last checkpoint"),
        (torch.OutOfMemoryError("CUDA out of memory"), r"PPO: out of GPU memory. Try .*policy.batch_tokens"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), r"PPO: out of memory. Try .*policy.batch_tokens"),
    ],
    ids=["not a number", "GPU memory", "memory"],
)
def test_a_training_that_breaks_leaves_a_usable_checkpoint_and_goes_on_from_it(
    tiny_model: Path, prompts: list[Prompt], tmp_path: Path, fault: Exception | float, message: str
) -> None:
    def trained(out: Path, reward: CountsLetters, section: PolicySection = FAST) -> list[dict[str, float]]:
        train(prompts, base=str(tiny_model), reward=reward, section=section, out=out, seed=0, device="cpu")
        return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]

    with pytest.raises(ModelError, match=message):
        trained(tmp_path / "broken", CountsLetters({5: fault}))
    checkpoint = tmp_path / "broken" / "checkpoints" / "step-000004"
    sampler = LocalSampler(str(checkpoint), device="cpu")
    assert next(sampler.sample([SampleRequest(prompts[0], "r", 1)], Decoding(max_tokens=4))).text
    # In smaller parts, as the message advises: the first four steps are not made again.
    after = CountsLetters()
    resumed = trained(tmp_path / "broken", after, FAST.model_copy(update={"batch_tokens": 400}))
    assert after.calls == 2
    whole = trained(tmp_path / "whole", CountsLetters())
    for row, expected in zip(resumed, whole, strict=True):
        assert row["reward"] == pytest.approx(expected["reward"])
        assert row["kl"] == pytest.approx(expected["kl"], abs=1e-3)


def test_no_prompts_is_an_error(tiny_model: Path, reward: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no prompts"):
        train([], base=str(tiny_model), reward=reward, section=FAST, out=tmp_path, seed=0)
