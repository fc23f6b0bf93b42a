"""Tests of PPO's updates, by hand: one number moves all log-probabilities, another all values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from types import SimpleNamespace

import pytest
import torch

from hrlaif.config import PolicySection
from hrlaif.nn.chat import Conversation
from hrlaif.policy.actors import Answered, Outputs
from hrlaif.policy.mix import Pay
from hrlaif.policy.rollouts import Rollouts
from hrlaif.policy.update import When, update
from hrlaif.types import Message, Prompt, Task

PROMPT = Prompt("p", (Message("user", "x"),), "c", Task.OPEN)
IS_RESPONSE = torch.tensor([[True, True], [True, False]])
SECTION = PolicySection(minibatch=2, rollouts=2, epochs=2, clip=0.05, stop_kl=0.0, max_grad_norm=10.0, batch_tokens=3)


class TwoNumbers:
    """Actors whose policy gives each token probability 0.5 * exp(shift), and whose critic says `value` everywhere."""

    def __init__(self, *, critic: bool) -> None:
        self.shift, self.value = torch.zeros(1, requires_grad=True), torch.zeros(1, requires_grad=True)
        self.critic = critic
        self.policy = SimpleNamespace(place=SimpleNamespace(tokens_per_pass=1000))

    def evaluate(self, answered: Sequence[Answered]) -> Outputs:
        """The two numbers for every token."""
        tokens = sum(len(item.conversation.response) for item in answered)
        values_N = self.value.expand(tokens) if self.critic else None
        return Outputs(math.log(0.5) + self.shift.expand(tokens), values_N, torch.full((tokens,), 0.3))


def rollouts(*, critic: bool) -> Rollouts:
    conversations = [Conversation((5,), (6, 2)), Conversation((5,), (2,))]
    return Rollouts(
        answered=tuple(Answered(PROMPT, one, one, finished=True) for one in conversations),
        is_response_BT=IS_RESPONSE,
        logprobs_BT=torch.full((2, 2), math.log(0.5)) * IS_RESPONSE,
        # What stands in the padding must not matter.
        advantages_BT=torch.tensor([[1.0, -2.0], [4.0, 99.0]]),
        values_BT=torch.tensor([[0.0, 0.0], [0.0, 99.0]]) if critic else None,
        returns_BT=torch.tensor([[1.0, 1.0], [-0.5, 99.0]]) if critic else None,
        scores_B=torch.zeros(2),
        kl_B=torch.zeros(2),
        finished_B=torch.tensor([True, True]),
        pay=Pay(torch.zeros(2), {}),
        server_gap={},
    )


def run(actors: TwoNumbers, section: PolicySection = SECTION) -> dict[str, float]:
    plain = torch.optim.SGD([actors.shift, actors.value], lr=0.1)
    found = rollouts(critic=actors.critic)
    return update(actors, found, plain, section, learning_rate=0.1, when=When(0, 0, "here"))  # type: ignore[arg-type]


def test_losses_are_means_over_the_response_tokens_of_a_minibatch_whatever_the_parts_it_was_computed_in() -> None:
    actors = TwoNumbers(critic=True)
    found = run(actors)
    # First epoch, ratio 1: the loss is -(1 - 2 + 4) / 3 = -1, its gradient -1, so the shift becomes 0.1.
    # Values 0: errors 1, 1, 0.25, halved and averaged 0.375; gradient (-1 - 1 + 0.5) / 3 * 0.5 = -0.25, value 0.025.
    # Second epoch, ratio e^0.1 = 1.105171 against 1.05: -1.05 (clipped), 2.210342, -4.2 (clipped): mean -1.013219;
    # gradient 2 * 1.105171 / 3 = 0.736781. Values: (2 * 0.950625 + 0.275625) / 6 = 0.362813; gradient -0.2375.
    assert actors.shift.item() == pytest.approx(0.1 - 0.0736781, abs=1e-6)
    assert actors.value.item() == pytest.approx(0.025 + 0.02375, abs=1e-6)
    assert found["policy_loss"] == pytest.approx((-1 - 1.013219) / 2, abs=1e-6)
    assert found["value_loss"] == pytest.approx((0.375 + 0.362813) / 2, abs=1e-6)
    # e^0.1 - 1 - 0.1 = 0.005171 in the second epoch, 0 in the first; 2 of 6 tokens clipped.
    assert found["approx_kl"] == pytest.approx(0.005171 / 2, abs=1e-6)
    assert found["clip_fraction"] == pytest.approx(2 / 6)
    assert found["entropy"] == pytest.approx(0.3)
    # sqrt(1 + 0.0625) and sqrt(0.736781^2 + 0.2375^2).
    assert found["grad_norm"] == pytest.approx((1.030776 + 0.774112) / 2, abs=1e-5)
    assert found["updates"] == 2


def test_without_a_critic_there_is_no_value_loss() -> None:
    actors = TwoNumbers(critic=False)
    found = run(actors)
    assert "value_loss" not in found
    assert actors.shift.item() == pytest.approx(0.1 - 0.0736781, abs=1e-6)
    assert actors.value.item() == 0.0


def test_an_update_that_would_go_beyond_the_kl_limit_is_not_made() -> None:
    actors = TwoNumbers(critic=False)
    # The second epoch finds 0.005171 nats per token: more than 0.005, less than 0.006.
    found = run(actors, SECTION.model_copy(update={"stop_kl": 0.005}))
    assert (found["updates"], actors.shift.item()) == (1, pytest.approx(0.1))
    assert actors.shift.grad is None
    assert run(TwoNumbers(critic=False), SECTION.model_copy(update={"stop_kl": 0.006}))["updates"] == 2
