"""Tests of two responses to one prompt in one row: no number may differ from that of rows of their own."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import GPT2Config, GPT2Model, MambaConfig, MambaModel, MistralConfig, MistralForCausalLM

from hrlaif.nn.backbone import Backbone, load_causal, load_scorer, placement
from hrlaif.nn.chat import Conversation
from hrlaif.nn.forks import Fork, can_fork, collate_forks, end_states
from hrlaif.nn.scoring import fork_scores

OPENING = tuple(range(20, 40))


def fork(prompt: tuple[int, ...], first: tuple[int, ...], second: tuple[int, ...]) -> Fork:
    return Fork(Conversation(prompt, first), Conversation(prompt, second))


# With a common opening of 20 tokens, and without one.
SHARED = [
    fork((*OPENING, 50, 51, 52), (60, 61, 2), (70, 2)),
    fork((*OPENING, 53), (62, 2), (71, 72, 73, 74, 2)),
]
APART = [fork((50, 51, 52), (60, 61, 2), (70, 2)), fork((5,), (2,), (71, 72, 73, 2))]


def test_a_row_holds_both_responses_at_the_positions_after_the_prompt() -> None:
    batch = collate_forks(APART, pad_id=0, device=torch.device("cpu"))
    assert batch.tokens_BT.tolist() == [[50, 51, 52, 60, 61, 2, 70, 2], [5, 2, 71, 72, 73, 2, 0, 0]]
    assert batch.position_BT.tolist() == [[0, 1, 2, 3, 4, 5, 3, 4], [0, 1, 1, 2, 3, 4, 0, 0]]
    # The last token of the first row sees the prompt, its own response so far, and nothing of the first response.
    assert batch.visible_BTK[0, 7].tolist() == [True, True, True, False, False, False, True, True]
    assert batch.visible_BTK[0, 5].tolist() == [True] * 6 + [False] * 2
    assert (batch.first_end_B.tolist(), batch.second_end_B.tolist()) == ([5, 1], [7, 5])


@pytest.fixture
def scorer(tiny_model: Path) -> Backbone:
    backbone = load_scorer(str(tiny_model), placement("cpu", "auto"))
    torch.nn.init.normal_(backbone.inner.score.weight, generator=torch.Generator().manual_seed(0))
    return backbone


@pytest.mark.parametrize("forks", [SHARED, APART])
def test_scores_and_gradients_are_those_of_whole_rows(scorer: Backbone, forks: list[Fork]) -> None:
    weight = scorer.trunk.layers[0].self_attn.k_proj.weight.requires_grad_(True)
    found = []
    for scorer.forks in (False, True):
        first_B, second_B = fork_scores(scorer, scorer.inner.score, forks)
        (first_B * torch.tensor([1.0, -2.0]) + second_B).sum().backward()
        found.append((first_B.detach(), second_B.detach(), weight.grad.clone()))
        weight.grad = None
    for whole, forked in zip(*found, strict=True):
        assert float(whole.abs().max()) > 1e-3
        torch.testing.assert_close(forked, whole, atol=1e-5, rtol=1e-4)


def test_the_first_response_changes_nothing_for_the_second(scorer: Backbone) -> None:
    _, second_BH = end_states(
        scorer.trunk, collate_forks([fork((5, 6), (7, 8, 9, 2), (10, 2))], pad_id=0, device=torch.device("cpu"))
    )
    _, other_BH = end_states(
        scorer.trunk, collate_forks([fork((5, 6), (99, 2), (10, 2))], pad_id=0, device=torch.device("cpu"))
    )
    torch.testing.assert_close(second_BH, other_BH, atol=1e-5, rtol=1e-4)


def test_architectures_that_cannot_are_found_out(tiny_model: Path) -> None:
    assert can_fork(load_causal(str(tiny_model), placement("cpu", "auto")).trunk)
    small = {"n_embd": 16, "n_layer": 1, "n_head": 2, "vocab_size": 20, "n_positions": 32}
    assert can_fork(GPT2Model(GPT2Config(**small)).eval())
    # A recurrence reads the second response after the first.
    recurrent = MambaModel(MambaConfig(vocab_size=20, hidden_size=16, num_hidden_layers=1, state_size=4))
    assert not can_fork(recurrent.eval())


def test_a_sliding_window_shorter_than_the_model_shares_nothing(tiny_model: Path) -> None:
    chat = load_causal(str(tiny_model), placement("cpu", "auto")).chat
    shapes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    for window, shares in ((8, False), (None, True), (4096, True)):
        config = MistralConfig(**shapes, vocab_size=20, sliding_window=window, max_position_embeddings=64)
        backbone = Backbone(MistralForCausalLM(config), chat, "m", placement("cpu", "auto"))
        assert backbone.shares_openings == shares
