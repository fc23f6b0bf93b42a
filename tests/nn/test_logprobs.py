"""Tests of token log-probabilities, with numbers worked out by hand."""

from __future__ import annotations

import math
from pathlib import Path

import torch

from hrlaif.nn.backbone import load_causal, placement
from hrlaif.nn.logprobs import token_logprobs, token_losses

LOGITS = torch.log(torch.tensor([[0.25, 0.75], [0.5, 0.5]]))


def test_log_probability_and_entropy_by_hand() -> None:
    logprobs, entropy = token_logprobs(LOGITS, torch.tensor([1, 0]), temperature=1.0)
    torch.testing.assert_close(logprobs, torch.tensor([math.log(0.75), math.log(0.5)]))
    # -(0.25 log 0.25 + 0.75 log 0.75) = 0.562335; log 2 = 0.693147.
    torch.testing.assert_close(entropy, torch.tensor([0.562335, 0.693147]))


def test_temperature_divides_the_logits() -> None:
    # Square roots: 0.5 and 0.866025, shares 0.366025 and 0.633975.
    logprobs, _ = token_logprobs(LOGITS[:1], torch.tensor([0]), temperature=2.0)
    torch.testing.assert_close(logprobs, torch.tensor([math.log(0.366025)]))


def test_only_the_log_probability_carries_a_gradient() -> None:
    logits = LOGITS.clone().requires_grad_()
    logprobs, entropy = token_logprobs(logits, torch.tensor([1, 0]), temperature=1.0)
    assert logprobs.requires_grad
    assert not entropy.requires_grad


def test_losses_made_in_pieces_are_those_made_at_once(tiny_model: Path) -> None:
    inner = load_causal(str(tiny_model), placement("cpu", "auto")).inner
    hidden_NH = torch.randn(7, 32, generator=torch.Generator().manual_seed(0), requires_grad=True)
    tokens_N = torch.tensor([3, 1, 4, 1, 5, 9, 2])
    expected_N = -inner.get_output_embeddings()(hidden_NH).log_softmax(dim=-1)[torch.arange(7), tokens_N]
    (expected,) = torch.autograd.grad(expected_N.square().sum(), hidden_NH)
    for chunk in (1024, 3):
        found_N = token_losses(inner, hidden_NH, tokens_N, chunk=chunk)
        torch.testing.assert_close(found_N, expected_N)
        torch.testing.assert_close(torch.autograd.grad(found_N.square().sum(), hidden_NH)[0], expected)
