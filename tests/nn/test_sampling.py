"""Tests of drawing tokens: the inverse of a cumulative distribution, worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch

from hrlaif.nn.sampling import next_tokens

# softmax(log p) = p, so these logits give probabilities 0.1, 0.2, 0.7; cumulated 0.1, 0.3, 1.0.
LOGITS = torch.log(torch.tensor([[0.1, 0.2, 0.7]]))


def draw(u: float, *, temperature: float = 1.0, top_p: float = 1.0, logits: torch.Tensor = LOGITS) -> int:
    return int(next_tokens(logits, torch.tensor([u]), temperature=temperature, top_p=top_p)[0][0])


def test_a_token_is_drawn_where_the_cumulative_distribution_passes_the_number() -> None:
    assert [draw(u) for u in (0.0, 0.09, 0.11, 0.29, 0.31, 0.999999)] == [0, 0, 1, 1, 2, 2]


def test_temperature_zero_takes_the_most_likely_token_whatever_the_number() -> None:
    assert [draw(u, temperature=0.0) for u in (0.0, 0.5)] == [2, 2]


def test_temperature_flattens_the_distribution() -> None:
    # At temperature 2 the weights are the square roots 0.316, 0.447, 0.837: shares 0.198, 0.279, 0.523.
    assert [draw(u, temperature=2.0) for u in (0.19, 0.21, 0.47, 0.49)] == [0, 1, 1, 2]


def test_top_p_keeps_the_most_likely_tokens_that_together_reach_it() -> None:
    # 0.7 < 0.8, so token 1 is kept too; token 0 is not. Sorted weights 0.7, 0.2 of 0.9: token 2 up to 0.778.
    assert [draw(u, top_p=0.8) for u in (0.0, 0.77, 0.79, 0.9999)] == [2, 2, 1, 1]
    assert {draw(u / 100, top_p=0.5) for u in range(100)} == {2}


@pytest.mark.parametrize("top_p", [1.0, 0.99])
def test_a_token_of_probability_zero_is_never_drawn(top_p: float) -> None:
    logits = torch.tensor([[float("-inf"), 0.0, 0.0, float("-inf")]])
    drawn = [draw(u, logits=logits, top_p=top_p) for u in (0.0, 0.49, 0.51, 1.0 - 1e-9, 1.0)]
    assert drawn == [1, 1, 2, 2, 2]


def test_each_row_uses_its_own_number() -> None:
    drawn, _ = next_tokens(LOGITS.repeat(3, 1), torch.tensor([0.05, 0.2, 0.8]), temperature=1.0)
    assert drawn.tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("temperature", "top_p", "expected"),
    [
        (1.0, 1.0, [math.log(0.1), math.log(0.2), math.log(0.7)]),
        (2.0, 1.0, [math.log(0.197630), math.log(0.279491), math.log(0.522879)]),
        # Leaving tokens out and drawing greedily do not change what the model thinks of the token.
        (1.0, 0.8, [math.log(0.7), math.log(0.7), math.log(0.2)]),
        (0.0, 1.0, [math.log(0.7)] * 3),
    ],
)
def test_log_probabilities_are_those_of_the_whole_distribution(
    temperature: float, top_p: float, expected: list[float]
) -> None:
    logits = LOGITS.repeat(3, 1) + 50.0
    _, logprobs = next_tokens(logits, torch.tensor([0.05, 0.25, 0.9]), temperature=temperature, top_p=top_p)
    torch.testing.assert_close(logprobs, torch.tensor(expected), atol=1e-5, rtol=1e-5)
