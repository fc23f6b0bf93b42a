"""Tests of seeds derived from their purpose."""

from __future__ import annotations

from hrlaif.nn.seeds import derive, generator, permutation, place_of


def test_seeds_depend_on_every_part_and_stay_the_same_from_run_to_run() -> None:
    seeds = {derive(0, "a", 1), derive(1, "a", 1), derive(0, "b", 1), derive(0, "a", 2), derive(0, "a", "1", 1)}
    assert len(seeds) == 5
    assert derive(0, "a", 1) == derive(0, "a", 1)
    # Pinned: a change here changes the result of every seeded run.
    assert derive(0, "rollout", 0, 0) == PINNED
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_a_permutation_holds_every_number_once_and_is_repeatable() -> None:
    assert sorted(permutation(10, 0, "x")) == list(range(10))
    assert permutation(10, 0, "x") == permutation(10, 0, "x") != permutation(10, 1, "x")
    assert generator(3, "y").initial_seed() == derive(3, "y")


def test_a_place_depends_on_the_name_alone_and_is_the_same_in_every_stage_and_run() -> None:
    # Pinned: a change here lets prompts that a reward model was trained on measure the policy.
    assert place_of("p1") == 0.9526381667847765
    places = [place_of(f"p{number}") for number in range(1000)]
    assert all(0 <= place < 1 for place in places)
    assert 60 <= sum(place < 0.1 for place in places) <= 140


PINNED = 4297702826565285599
