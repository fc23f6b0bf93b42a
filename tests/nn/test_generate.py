"""Tests of sampling many responses at once."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from hrlaif.nn.backbone import Backbone, load_causal, placement
from hrlaif.nn.forward import logits
from hrlaif.nn.generate import Settings, generate
from hrlaif.types import Message

TEXTS = ("hello", "what is 2 + 2?", "hello", "x", "a longer question about nothing in particular")
SEEDS = (1, 2, 3, 4, 5)


@pytest.fixture(scope="module")
def backbone(tiny_model: Path) -> Backbone:
    found = load_causal(str(tiny_model), placement("cpu", "auto"))
    # A random model never ends by itself; with these tokens as ends, responses have all lengths.
    found.chat.stop_ids = frozenset({2, *range(40, 52)})
    return found


@pytest.fixture(scope="module")
def prompts(backbone: Backbone) -> list[list[int]]:
    return [backbone.chat.prompt_ids((Message("system", "be kind"), Message("user", text))) for text in TEXTS]


def test_a_response_does_not_depend_on_its_company(backbone: Backbone, prompts: list[list[int]]) -> None:
    settings = Settings(1.0, 30)
    together = generate(backbone, prompts, SEEDS, settings)
    assert len({len(sampled.tokens) for sampled in together}) > 2
    for prompt, seed, sampled in zip(prompts, SEEDS, together, strict=True):
        (alone,) = generate(backbone, [prompt], [seed], settings)
        assert alone.tokens == sampled.tokens
        assert alone.logprobs == pytest.approx(sampled.logprobs, abs=1e-5)
    backwards = generate(backbone, prompts[::-1], SEEDS[::-1], settings)
    assert [sampled.tokens for sampled in backwards[::-1]] == [sampled.tokens for sampled in together]


def test_seeds_make_responses_to_one_prompt_differ(backbone: Backbone, prompts: list[list[int]]) -> None:
    first, second = generate(backbone, [prompts[0]] * 2, [1, 3], Settings(1.0, 10))
    assert first.tokens != second.tokens


def test_a_response_stops_at_its_first_end_token_and_keeps_it(backbone: Backbone, prompts: list[list[int]]) -> None:
    for sampled in generate(backbone, prompts * 4, range(20), Settings(1.0, 20)):
        ends = [token in backbone.chat.stop_ids for token in sampled.tokens]
        assert not any(ends[:-1])
        assert sampled.finished == ends[-1]
        assert sampled.finished or len(sampled.tokens) == 20


def test_decoding_ends_with_the_longest_response_and_drops_rows_that_have_ended(
    backbone: Backbone, prompts: list[list[int]]
) -> None:
    rows: list[int] = []
    hook = backbone.trunk.layers[0].register_forward_pre_hook(lambda _, inputs: rows.append(len(inputs[0])))
    sampled = generate(backbone, prompts * 4, range(20), Settings(1.0, 500))
    hook.remove()
    lengths = [len(one.tokens) for one in sampled]
    # A pass over the opening and one over the rest of the prompts draw the first token, one more pass each other one.
    assert rows[:2] == [1, 4]
    passes = rows[2:]
    assert len(passes) == max(lengths) - 1
    assert all(alive >= sum(length > step + 1 for length in lengths) for step, alive in enumerate(passes))
    assert sum(passes) < 20 * len(passes) / 2


def test_log_probabilities_are_those_of_a_pass_over_the_whole_text_at_the_same_temperature(
    backbone: Backbone, prompts: list[list[int]]
) -> None:
    for temperature in (0.5, 1.0):
        for prompt, sampled in zip(prompts, generate(backbone, prompts, SEEDS, Settings(temperature, 30)), strict=True):
            tokens = torch.tensor([[*prompt, *sampled.tokens]])
            with torch.no_grad():
                hidden = backbone.trunk(input_ids=tokens).last_hidden_state[0, len(prompt) - 1 : -1]
            logp = torch.log_softmax(logits(backbone.inner, hidden) / temperature, dim=-1)
            expected = logp[torch.arange(len(sampled.tokens)), list(sampled.tokens)]
            assert sampled.logprobs == pytest.approx(expected.tolist(), abs=1e-4)


def test_values_are_asked_of_the_states_that_predict_each_token(backbone: Backbone, prompts: list[list[int]]) -> None:
    settings = Settings(1.0, 12)
    for prompt, sampled in zip(
        prompts, generate(backbone, prompts, SEEDS, settings, value_head=lambda hidden: hidden[..., 3]), strict=True
    ):
        tokens = torch.tensor([[*prompt, *sampled.tokens]])
        with torch.no_grad():
            hidden = backbone.trunk(input_ids=tokens).last_hidden_state[0, len(prompt) - 1 : -1]
        assert sampled.values == pytest.approx(hidden[:, 3].tolist(), abs=1e-4)


def test_greedy_is_what_transformers_generates(backbone: Backbone, prompts: list[list[int]]) -> None:
    sampled = generate(backbone, prompts, SEEDS, Settings(0.0, 15))
    for prompt, found in zip(prompts, sampled, strict=True):
        reference = backbone.inner.generate(
            torch.tensor([prompt]),
            attention_mask=torch.ones(1, len(prompt)),
            max_new_tokens=15,
            do_sample=False,
            eos_token_id=sorted(backbone.chat.stop_ids),
        )
        assert list(found.tokens) == reference[0, len(prompt) :].tolist()


def test_samples_follow_the_models_distribution(backbone: Backbone, prompts: list[list[int]]) -> None:
    drawn = generate(backbone, [prompts[0]] * 4000, range(4000), Settings(1.0, 1))
    with torch.no_grad():
        hidden = backbone.trunk(input_ids=torch.tensor([prompts[0]])).last_hidden_state[0, -1:]
    expected = torch.softmax(logits(backbone.inner, hidden), dim=-1)[0]
    seen = torch.bincount(torch.tensor([sampled.tokens[0] for sampled in drawn]), minlength=len(expected)) / 4000
    # A share of 4000 draws deviates by sqrt(p / 4000); among some 50 tokens the largest is about 3 times that.
    common = expected > 0.005
    assert int(common.sum()) > 20
    assert float(((seen - expected).abs() / (expected / 4000).sqrt())[common].max()) < 4.5
