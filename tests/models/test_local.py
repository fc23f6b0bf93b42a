"""Tests of models in this process: what the rest of the package sees of them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from pathlib import Path

import pytest
import torch

from hrlaif.config import LoraSection
from hrlaif.errors import ModelError
from hrlaif.models.base import Decoding, SampleRequest
from hrlaif.models.local import LocalReward, LocalSampler
from hrlaif.nn.adapters import save_trained, trainable
from hrlaif.nn.backbone import placement
from hrlaif.types import Finish, Message, Prompt, Response, Task

TEXTS = ("hi", "a much longer question, with Ünïcödé", "x", "what is 2 + 2?")


def requests(count: int = 12) -> list[SampleRequest]:
    """Several samples per prompt, prompts of several lengths."""
    prompts = [Prompt(f"p{n}", (Message("user", text),), "chat", Task.OPEN) for n, text in enumerate(TEXTS)]
    return [SampleRequest(prompts[n // 3 % 4], f"r{n}", seed=n) for n in range(count)]


def adapter(tiny_model: Path, folder: Path, *, scorer: bool = False) -> Path:
    """An adapter folder whose adapter does something."""
    backbone = trainable(str(tiny_model), LoraSection(rank=4), placement("cpu", "auto"), seed=0, scorer=scorer)
    for name, parameter in backbone.model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.2, generator=torch.Generator().manual_seed(len(name)))
    save_trained(backbone, folder)
    return folder


def texts(responses: Iterable[Response]) -> list[str]:
    return [response.text for response in responses]


def test_responses_come_in_the_order_of_the_requests_with_all_that_a_record_needs(tiny_model: Path) -> None:
    sampler = LocalSampler(str(tiny_model), device="cpu", batch_size=5)
    responses = list(sampler.sample(requests(), Decoding(max_tokens=8)))
    assert [(r.id, r.prompt_id, r.seed) for r in responses] == [
        (request.response_id, request.prompt.id, request.seed) for request in requests()
    ]
    assert {r.model for r in responses} == {"model"} == {sampler.name}
    assert len(set(texts(responses))) == 12


def test_a_response_is_the_same_in_any_company_and_batch_size(tiny_model: Path) -> None:
    decoding = Decoding(max_tokens=10, temperature=0.8)
    large = list(LocalSampler(str(tiny_model), device="cpu").sample(requests(), decoding))
    small = list(LocalSampler(str(tiny_model), device="cpu", batch_size=2).sample(requests()[::-1], decoding))
    assert texts(large) == texts(small[::-1])


def test_a_response_that_ended_says_so_and_shows_no_special_token(tiny_model: Path) -> None:
    sampler = LocalSampler(str(tiny_model), device="cpu")
    sampler.backbone.chat.stop_ids = frozenset({2, *range(40, 80)})
    responses = list(sampler.sample(requests(), Decoding(max_tokens=12)))
    assert {response.finish for response in responses} == {Finish.STOP, Finish.LENGTH}
    assert not any("<|" in response.text for response in responses)


def test_a_policy_folder_finds_its_base_and_differs_from_it(tiny_model: Path, tmp_path: Path) -> None:
    folder = adapter(tiny_model, tmp_path / "policy")
    decoding = Decoding(max_tokens=12, temperature=0.0)
    alone = texts(LocalSampler(str(folder), device="cpu").sample(requests(), decoding))
    on_base = texts(LocalSampler(str(tiny_model), adapter=folder, device="cpu").sample(requests(), decoding))
    start = texts(LocalSampler(str(tiny_model), device="cpu").sample(requests(), decoding))
    assert alone == on_base != start


def test_a_whole_model_folder_serves_where_an_adapter_is_expected(tiny_model: Path, tmp_path: Path) -> None:
    whole = tmp_path / "policy"
    shutil.copytree(tiny_model, whole)
    sampler = LocalSampler("no-such-base", adapter=whole, device="cpu")
    decoding = Decoding(max_tokens=6)
    expected = texts(LocalSampler(str(tiny_model), device="cpu").sample(requests(), decoding))
    assert texts(sampler.sample(requests(), decoding)) == expected


def test_a_base_that_moved_is_an_error_and_naming_its_new_place_helps(tiny_model: Path, tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    shutil.copytree(tiny_model, old)
    policy, reward = adapter(old, tmp_path / "policy"), adapter(old, tmp_path / "reward", scorer=True)
    old.rename(new)
    with pytest.raises(ModelError, match=r"its base model .*old is not there"):
        LocalSampler(str(policy), device="cpu")
    with pytest.raises(ModelError, match=r"its base model .*old is not there"):
        LocalReward(reward, device="cpu")
    assert len(list(LocalSampler(str(new), adapter=policy, device="cpu").sample(requests(2), Decoding()))) == 2
    assert len(LocalReward(reward, base=str(new), device="cpu").score([((Message("user", "hi"),), "yes")])) == 1


def test_scores_do_not_depend_on_company_or_order(tiny_model: Path, tmp_path: Path) -> None:
    scorer = LocalReward(adapter(tiny_model, tmp_path / "reward", scorer=True), device="cpu")
    rows = [((Message("user", text),), answer) for text in TEXTS for answer in ("yes", "a longer answer", "")]
    together = scorer.score(rows)
    assert len({round(score, 3) for score in together}) == len(rows)
    assert scorer.score(rows[::-1])[::-1] == pytest.approx(together, abs=1e-4)
    assert [scorer.score([row])[0] for row in rows] == pytest.approx(together, abs=1e-4)


def test_a_long_prompt_is_cut_on_the_left_as_in_training(tiny_model: Path, tmp_path: Path) -> None:
    folder = adapter(tiny_model, tmp_path / "reward", scorer=True)
    (folder / "summary.json").write_text(json.dumps({"max_tokens": 40}))
    scorer = LocalReward(folder, device="cpu")
    (short,) = scorer.score([((Message("user", "b" * 30),), "yes")])
    (long,) = scorer.score([((Message("user", "a" * 100 + "b" * 30),), "yes")])
    assert long == pytest.approx(short, abs=1e-4)


def test_a_folder_without_a_reward_model_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no reward model here"):
        LocalReward(tmp_path)


def test_log_likelihoods_of_options_are_the_sums_of_their_tokens_log_probabilities(tiny_model: Path) -> None:
    sampler = LocalSampler(str(tiny_model), device="cpu")
    texts = ("A", "a longer option", "ß")
    for question in TEXTS:
        messages = (Message("user", question),)
        (found,) = sampler.logprobs([(messages, texts)])
        prompt = sampler.backbone.chat.prompt_ids(messages)
        for text, sum_nats in zip(texts, found, strict=True):
            # One row by itself, without a common opening, padding or hidden states in between.
            response = sampler.backbone.chat.response_ids(text)[:-1]
            with torch.no_grad():
                logits_TV = sampler.backbone.model(torch.tensor([[*prompt, *response]])).logits[0]
            logp_TV = logits_TV.float().log_softmax(dim=-1)
            expected = sum(float(logp_TV[len(prompt) - 1 + t, token]) for t, token in enumerate(response))
            assert sum_nats == pytest.approx(expected, abs=1e-3)


def test_log_likelihoods_of_a_prompt_that_is_too_long_follow_its_end(tiny_model: Path) -> None:
    sampler = LocalSampler(str(tiny_model), device="cpu", max_prompt_tokens=24)
    (long,) = sampler.logprobs([((Message("user", "x" * 400 + "the end"),), ("A", "B"))])
    (short,) = sampler.logprobs([((Message("user", "x" * 100 + "the end"),), ("A", "B"))])
    assert long == pytest.approx(short, abs=1e-4)
