"""Tests of hidden states and logits: shortcuts must not change a number."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from hrlaif.nn.backbone import Backbone, load_causal, placement
from hrlaif.nn.batches import Batch, collate
from hrlaif.nn.chat import Conversation
from hrlaif.nn.forward import can_split, hidden_states, last_hidden, logits, lower_states, predicting

OPENING = tuple(range(20, 40))
CONVERSATIONS = (
    Conversation((*OPENING, 50, 51, 52), (60, 61, 2)),
    Conversation((*OPENING, 53), (62, 63, 64, 65, 2)),
    Conversation((*OPENING, 54, 55), (2,)),
)


@pytest.fixture(scope="module")
def backbone(tiny_model: Path) -> Backbone:
    return load_causal(str(tiny_model), placement("cpu", "auto"))


def alone(backbone: Backbone, conversation: Conversation) -> torch.Tensor:
    """Hidden states of one conversation by transformers itself, without padding or caches."""
    tokens = torch.tensor([[*conversation.prompt, *conversation.response]])
    return backbone.trunk(input_ids=tokens).last_hidden_state[0]


def laid_out(backbone: Backbone, *, share_opening: bool) -> Batch:
    return collate(CONVERSATIONS, pad_id=backbone.chat.pad_id, device=torch.device("cpu"), share_opening=share_opening)


@pytest.mark.parametrize("share_opening", [True, False])
@torch.no_grad()
def test_padding_and_a_shared_opening_change_no_hidden_state(backbone: Backbone, share_opening: bool) -> None:
    batch = laid_out(backbone, share_opening=share_opening)
    assert (len(batch.opening_T) > 0) == share_opening
    hidden = hidden_states(backbone.trunk, batch)
    for row, conversation in enumerate(CONVERSATIONS):
        expected = alone(backbone, conversation)[len(batch.opening_T) :]
        torch.testing.assert_close(hidden[row][batch.is_real_BT[row]], expected, atol=1e-5, rtol=1e-4)


def test_a_shared_opening_changes_no_gradient(backbone: Backbone) -> None:
    gradients = []
    weight = backbone.trunk.layers[0].self_attn.k_proj.weight
    for share_opening in (True, False):
        weight.requires_grad_(True)
        batch = laid_out(backbone, share_opening=share_opening)
        last_hidden(hidden_states(backbone.trunk, batch), batch)[:, 0].sum().backward()
        assert weight.grad is not None
        gradients.append(weight.grad.clone())
        weight.grad = None
        weight.requires_grad_(False)
    assert float(gradients[0].abs().max()) > 1e-3
    torch.testing.assert_close(gradients[0], gradients[1], atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_each_response_token_is_predicted_one_column_before_it_and_scored_at_the_last(backbone: Backbone) -> None:
    batch = laid_out(backbone, share_opening=True)
    for drop_last in (True, False):
        predictions = predicting(hidden_states(backbone.trunk, batch, drop_last=drop_last), batch)
        for row, conversation in enumerate(CONVERSATIONS):
            first = len(conversation.prompt) - 1
            expected = alone(backbone, conversation)[first : first + len(conversation.response)]
            found = predictions[row, : len(conversation.response)]
            torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)
    final = last_hidden(hidden_states(backbone.trunk, batch), batch)
    for row, conversation in enumerate(CONVERSATIONS):
        torch.testing.assert_close(final[row], alone(backbone, conversation)[-1], atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_going_on_from_lower_states_gives_what_running_all_layers_gives(backbone: Backbone) -> None:
    assert can_split(backbone.trunk, 1)
    batch = laid_out(backbone, share_opening=True)
    lower = lower_states(backbone.trunk, batch, 1)
    assert [len(row) for row in lower] == [conversation.length for conversation in CONVERSATIONS]
    split = collate(CONVERSATIONS, pad_id=backbone.chat.pad_id, device=torch.device("cpu"), lower=lower, first_layer=1)
    whole, upper = hidden_states(backbone.trunk, batch), hidden_states(backbone.trunk, split)
    torch.testing.assert_close(upper[batch.is_real_BT], whole[batch.is_real_BT], atol=1e-5, rtol=1e-4)
    # And it really starts from them: other lower states give another result.
    changed = collate(
        CONVERSATIONS,
        pad_id=backbone.chat.pad_id,
        device=torch.device("cpu"),
        lower=[row + 1 for row in lower],
        first_layer=1,
    )
    assert float((hidden_states(backbone.trunk, changed) - upper).abs().max()) > 0.01
    assert len(backbone.trunk.layers) == 2


def test_a_model_that_scales_its_input_is_not_split(backbone: Backbone) -> None:
    class Scaled(torch.nn.Module):
        def __init__(self, trunk: torch.nn.Module) -> None:
            super().__init__()
            self.layers, self.norm, self.config, self.inner = trunk.layers, trunk.norm, trunk.config, [trunk]

        def forward(self, input_ids=None, inputs_embeds=None, **options):  # type: ignore[no-untyped-def]
            trunk = self.inner[0]
            embeds = trunk.embed_tokens(input_ids) if inputs_embeds is None else inputs_embeds
            layers, norm = trunk.layers, trunk.norm
            trunk.layers, trunk.norm = self.layers, self.norm
            try:
                return trunk(inputs_embeds=embeds * 3, **options)
            finally:
                trunk.layers, trunk.norm = layers, norm

    assert not can_split(Scaled(backbone.trunk), 1)
    assert not can_split(torch.nn.Linear(2, 2), 1)


@torch.no_grad()
def test_logits_are_the_models_own(backbone: Backbone, tiny_model: Path) -> None:
    tokens = torch.tensor([[5, 6, 7]])
    own = AutoModelForCausalLM.from_pretrained(tiny_model)(input_ids=tokens).logits
    ours = logits(backbone.inner, backbone.trunk(input_ids=tokens).last_hidden_state)
    torch.testing.assert_close(ours, own)
