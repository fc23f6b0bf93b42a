"""Tests of how conversations are laid out side by side."""

from __future__ import annotations

import torch

from hrlaif.nn.batches import by_length, collate, common_opening
from hrlaif.nn.chat import Conversation

CPU = torch.device("cpu")


def test_prompts_are_padded_left_and_responses_right() -> None:
    batch = collate([Conversation((5, 6, 7), (8, 9)), Conversation((4,), (3, 2, 1))], pad_id=0, device=CPU)
    assert batch.tokens_BT.tolist() == [[5, 6, 7, 8, 9, 0], [0, 0, 4, 3, 2, 1]]
    assert batch.is_real_BT.int().tolist() == [[1, 1, 1, 1, 1, 0], [0, 0, 1, 1, 1, 1]]
    assert batch.prompt_width == 3
    assert batch.response_BT.tolist() == [[8, 9, 0], [3, 2, 1]]
    assert batch.is_response_BT.int().tolist() == [[1, 1, 0], [1, 1, 1]]


def test_a_common_opening_is_taken_out_and_every_prompt_keeps_a_token() -> None:
    opening = tuple(range(10, 20))
    batch = collate([Conversation((*opening, 1), (2,)), Conversation((*opening, 3, 4), (5,))], pad_id=0, device=CPU)
    assert batch.opening_T.tolist() == list(opening)
    assert batch.tokens_BT.tolist() == [[0, 1, 2], [3, 4, 5]]
    assert common_opening([opening, opening]) == list(opening[:-1])


def test_a_short_or_single_opening_is_not_worth_a_pass() -> None:
    assert common_opening([(1, 2, 3), (1, 2, 4)]) == []
    assert common_opening([tuple(range(50))]) == []


def test_token_ids_equal_to_padding_still_count_as_tokens() -> None:
    batch = collate([Conversation((0, 1), (0,)), Conversation((1,), (0, 0))], pad_id=0, device=CPU)
    assert batch.is_real_BT.int().tolist() == [[1, 1, 1, 0], [0, 1, 1, 1]]


def test_lower_states_stand_where_their_tokens_stand() -> None:
    conversations = [Conversation((5, 6), (7,)), Conversation((4,), (3, 2))]
    # The second has a state more than it has tokens (an end token appended for scoring): it is not used.
    lower = [torch.tensor([[5.0], [6.0], [7.0]]), torch.tensor([[4.0], [3.0], [2.0], [99.0]])]
    batch = collate(conversations, pad_id=0, device=CPU, lower=lower, first_layer=1)
    assert batch.lower_BTH is not None
    assert batch.lower_BTH[..., 0].tolist() == [[5.0, 6.0, 7.0, 0.0], [0.0, 4.0, 3.0, 2.0]]


def test_groups_hold_every_row_once_longest_first_within_the_token_limit() -> None:
    groups = by_length([3, 10, 4, 4, 1], max_tokens=12)
    assert groups == [[1], [2, 3, 0], [4]]
    assert by_length([5, 50], max_tokens=12) == [[1], [0]]
    assert by_length([1, 1, 1], max_tokens=100, max_rows=2) == [[0, 1], [2]]
