"""Tests of what responses are paid, with numbers worked out by hand."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from hrlaif.config import MixSection, PolicySection
from hrlaif.errors import DataError
from hrlaif.nn.backbone import load_chat
from hrlaif.nn.chat import Chat, Conversation
from hrlaif.policy import train
from hrlaif.policy.actors import Answered
from hrlaif.policy.mix import Pay, endings, pay
from hrlaif.types import Message, Prompt, Task

SUM = Prompt("sum", (Message("user", "2 + 3 = ?"),), "c", Task.MATH, reference="5")
OPEN = Prompt("open", (Message("user", "say 5"),), "c", Task.OPEN, reference="5")
UNKNOWN = Prompt("unknown", (Message("user", "2 + 3 = ?"),), "c", Task.MATH)


@pytest.fixture(scope="module")
def chat(tiny_model: Path) -> Chat:
    return load_chat(str(tiny_model))


def answer(chat: Chat, prompt: Prompt, text: str, *, finished: bool = True) -> Answered:
    tokens = chat.response_ids(text)
    conversation = Conversation((1,), tuple(tokens if finished else tokens[:-1]))
    return Answered(prompt, conversation, Conversation((1,), tuple(tokens)), finished)


def paid(answered: list[Answered], normalised_B: torch.Tensor, section: PolicySection, chat: Chat) -> Pay:
    return pay(endings(answered, section, chat=chat), normalised_B, section)


def test_every_term_is_paid_and_named(chat: Chat) -> None:
    mix = MixSection(
        reward_model=0.5, verifier=2.0, correct=1.0, unreadable=-0.25, wrong=-1.0, length=0.1, length_target=1
    )
    section = PolicySection(mix=mix, no_eos_penalty=3.0)
    answered = [
        answer(chat, SUM, "5"),
        answer(chat, SUM, "6"),
        answer(chat, SUM, "?"),
        answer(chat, OPEN, "5"),
        # Cut off after one character: it may have become 51, so the verifier does not read it.
        answer(chat, SUM, "5", finished=False),
    ]
    found = paid(answered, torch.tensor([1.0, 0.0, -1.0, 2.0, 0.0]), section, chat)
    # 0.5 + 2 - 0.1; 0 - 2 - 0.1; -0.5 - 0.5 - 0.1; 1 + 0 - 0.1; 0 - 0.5 - 0 - 3. The end token counts as one.
    torch.testing.assert_close(found.total_B, torch.tensor([2.4, -2.1, -1.1, 0.9, -3.5]))
    expected = {
        "paid": -3.4 / 5,
        "paid_reward_model": 1.0 / 5,
        "paid_verifier": -1.0 / 5,
        "paid_length": -0.4 / 5,
        "paid_no_eos": -3.0 / 5,
        "correct_share": 1 / 4,
        "wrong_share": 1 / 4,
        "unreadable_share": 2 / 4,
    }
    assert found.terms == pytest.approx(expected, abs=1e-6)


def test_by_default_only_the_score_and_a_missing_end_count(chat: Chat) -> None:
    answered = [answer(chat, SUM, "6"), answer(chat, SUM, "a long answer", finished=False)]
    found = paid(answered, torch.tensor([1.0, 2.0]), PolicySection(), chat)
    assert found.total_B.tolist() == [1.0, 1.0]
    assert found.terms == {"paid": 1.0, "paid_reward_model": 1.5, "paid_no_eos": -0.5}


def test_brevity_below_the_target_earns_nothing(chat: Chat) -> None:
    section = PolicySection(mix=MixSection(length=0.1, length_target=3))
    answered = [answer(chat, OPEN, "a"), answer(chat, OPEN, "abcd")]
    # Two tokens, and five: two beyond the target.
    found = paid(answered, torch.zeros(2), section, chat)
    torch.testing.assert_close(found.total_B, torch.tensor([0.0, -0.2]))


def test_shares_of_outcomes_are_left_out_where_nothing_was_verified(chat: Chat) -> None:
    section = PolicySection(mix=MixSection(verifier=1.0))
    # A task without a final answer, and a checkable one without a reference.
    answered = [answer(chat, OPEN, "5"), answer(chat, UNKNOWN, "5")]
    found = paid(answered, torch.tensor([1.0, 1.0]), section, chat)
    assert found.terms == {"paid": 1.0, "paid_reward_model": 1.0, "paid_no_eos": 0.0, "paid_verifier": 0.0}


def test_a_reference_that_cannot_be_used_fails_before_any_model_is_loaded(tmp_path: Path) -> None:
    prompt = Prompt("c1", (Message("user", "?"),), "c", Task.CHOICE, reference="other", choices=("x", "y"))
    section = PolicySection(mix=MixSection(verifier=1.0))
    with pytest.raises(DataError, match=r"prompt 'c1'"):
        train([prompt], base="no such model", reward=tmp_path, section=section, out=tmp_path / "out", seed=0)
