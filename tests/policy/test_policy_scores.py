"""Tests of the scale of scores and of the adaptive KL weight, with numbers worked out by hand."""

from __future__ import annotations

import pytest
import torch

from hrlaif.policy.scores import Normaliser, adapted_kl_weight


def test_scores_are_clipped_before_they_are_normalised() -> None:
    # Clipped to 2, 0, -2: mean 0, deviation sqrt(8 / 3) = 1.632993.
    found = Normaliser("batch", clip=2.0)(torch.tensor([100.0, 0.0, -3.0]))
    torch.testing.assert_close(found, torch.tensor([1.224745, 0.0, -1.224745]), atol=1e-5, rtol=0)


def test_running_normalises_over_all_scores_so_far() -> None:
    normaliser = Normaliser("running", clip=10.0)
    normaliser(torch.tensor([0.0, 2.0]))
    # All four: 0, 2, 4, 6 with mean 3 and deviation sqrt(5).
    found = normaliser(torch.tensor([4.0, 6.0]))
    torch.testing.assert_close(found, torch.tensor([1.0, 3.0]) / 5**0.5, atol=1e-5, rtol=0)


def test_batch_forgets_and_none_only_clips() -> None:
    normaliser = Normaliser("batch", clip=10.0)
    normaliser(torch.tensor([0.0, 2.0]))
    torch.testing.assert_close(normaliser(torch.tensor([4.0, 6.0])), torch.tensor([-1.0, 1.0]), atol=1e-5, rtol=0)
    assert Normaliser("none", clip=1.0)(torch.tensor([4.0, 0.5])).tolist() == [1.0, 0.5]


def test_equal_scores_become_zero_not_a_division_by_zero() -> None:
    assert Normaliser("batch", clip=5.0)(torch.tensor([3.0, 3.0])).tolist() == [0.0, 0.0]


def test_scores_on_a_fixed_scale_do_not_count_and_equal_ones_are_only_moved() -> None:
    normaliser = Normaliser("running", clip=10.0)
    normaliser(torch.tensor([0.0, 2.0]))
    # Mean 1, deviation 1; and the same again, since asking changes nothing.
    for _ in range(2):
        found = normaliser.scaled(torch.tensor([4.0, 99.0]))
        torch.testing.assert_close(found, torch.tensor([3.0, 9.0]), atol=1e-4, rtol=0)
    equal = Normaliser("running", clip=10.0)
    equal(torch.tensor([3.0, 3.0]))
    assert equal.scaled(torch.tensor([4.0, 3.0])).tolist() == [1.0, 0.0]


def test_a_restored_normaliser_goes_on_where_the_other_stood() -> None:
    first, second = Normaliser("running", clip=5.0), Normaliser("running", clip=5.0)
    first(torch.tensor([1.0, 2.0, 4.0]))
    second.restore(first.state())
    scores = torch.tensor([0.0, 3.0])
    assert torch.equal(first(scores), second(scores))


def test_kl_weight_moves_towards_the_target_by_at_most_a_fifth() -> None:
    assert adapted_kl_weight(0.1, 6.6, target_nats=6.0) == pytest.approx(0.11)
    assert adapted_kl_weight(0.1, 100.0, target_nats=6.0) == pytest.approx(0.12)
    assert adapted_kl_weight(0.1, 0.0, target_nats=6.0) == pytest.approx(0.08)
    assert adapted_kl_weight(0.1, 100.0, target_nats=0.0) == 0.1
