"""Tests of pairs as tokens and of what is held out."""

from __future__ import annotations

from pathlib import Path

import pytest
from transformers import AutoTokenizer

from hrlaif.errors import DataError
from hrlaif.nn.chat import Chat
from hrlaif.reward.data import render, split
from hrlaif.types import Basis, Message, Pair


def pair(prompt_id: str, *, question: str = "hi", chosen: str = "yes", rejected: str = "no") -> Pair:
    return Pair(prompt_id, (Message("user", question),), chosen, rejected, 0.9, Basis.JUDGE, "chat")


@pytest.fixture
def chat(tiny_model: Path) -> Chat:
    return Chat(AutoTokenizer.from_pretrained(tiny_model))


def test_both_sides_have_the_same_prompt_tokens_and_whole_responses(chat: Chat) -> None:
    (item,) = render([pair("p", question="q" * 50, chosen="c" * 10, rejected="r" * 30)], chat, max_tokens=40)
    # 30 letters and the end token leave 9 of 40 tokens for the prompt.
    assert len(item.rejected.prompt) == 9
    assert item.chosen.prompt == item.rejected.prompt
    assert chat.text(item.chosen.response) == "c" * 10
    assert chat.text(item.rejected.response) == "r" * 30
    assert item.was_cut
    assert item.rejected.length == 40
    # One row holds the prompt once: 9 + 11 + 31.
    assert item.fork.length == 51


def test_a_pair_that_fits_is_not_cut(chat: Chat) -> None:
    (item,) = render([pair("p")], chat, max_tokens=1000)
    assert not item.was_cut
    assert list(item.chosen.prompt) == chat.prompt_ids(item.pair.messages)


def test_a_prompt_is_on_one_side_only_and_its_side_depends_on_its_id_alone(chat: Chat) -> None:
    items = render([pair(f"p{number % 40}") for number in range(120)], chat, max_tokens=1000)
    train, held = split(items, held_out=0.3)
    train_ids, held_ids = {item.pair.prompt_id for item in train}, {item.pair.prompt_id for item in held}
    assert not train_ids & held_ids
    assert len(train) + len(held) == 120
    assert 5 <= len(held_ids) <= 20
    _, held_of_half = split(items[:20], held_out=0.3)
    assert {item.pair.prompt_id for item in held_of_half} == held_ids & {f"p{number}" for number in range(20)}


def test_a_small_set_still_holds_a_prompt_out_but_never_its_only_one(chat: Chat) -> None:
    items = render([pair("a"), pair("b")], chat, max_tokens=1000)
    assert len(split(items, held_out=1e-9)[1]) == 1
    assert split(items[:1], held_out=1e-9)[1] == []
    assert split(items, held_out=0.0)[1] == []


def test_no_pairs_or_none_left_to_train_on_is_an_error(chat: Chat) -> None:
    with pytest.raises(DataError, match="no preference pairs"):
        split([], held_out=0.1)
    with pytest.raises(DataError, match=r"all 1 pairs belong to held-out prompts"):
        split(render([pair("a")], chat, max_tokens=1000), held_out=1.0)
