from itertools import groupby

import pytest

from hrlaif.config import LabelsSection
from hrlaif.labels.budget import comparisons


def dealt(total: int, max_calls: int, *, limit: int = 1001, seed: int = 0) -> list[int]:
    section = LabelsSection(pairs_per_prompt=limit, max_calls=max_calls)
    return [comparisons(index, total, section, seed=seed) for index in range(total)]


@pytest.mark.parametrize("total", [1, 2, 3, 7, 10, 64, 101])
@pytest.mark.parametrize("budget", [1, 2, 3, 5, 9, 32, 63, 64, 65, 100, 150, 1000])
def test_the_whole_budget_is_dealt_and_no_prompt_gets_two_more_than_another(total: int, budget: int) -> None:
    # Two calls are one comparison; an odd call is left over.
    for max_calls in (2 * budget, 2 * budget + 1):
        found = dealt(total, max_calls)
        assert sum(found) == budget
        assert max(found) - min(found) <= 1


def test_without_a_budget_each_prompt_gets_its_limit_and_with_a_large_one_no_more() -> None:
    assert dealt(3, 0, limit=4) == [4, 4, 4]
    assert comparisons(5, None, LabelsSection(pairs_per_prompt=4), seed=0) == 4
    assert dealt(3, 1000, limit=4) == [4, 4, 4]


def test_prompts_beyond_the_number_that_was_said_get_nothing() -> None:
    assert comparisons(3, 3, LabelsSection(max_calls=600), seed=0) == 0


@pytest.mark.parametrize(("budget", "stretch"), [(10, 10), (25, 4), (50, 2)])
def test_the_rest_is_spread_over_the_whole_file_one_in_each_stretch(budget: int, stretch: int) -> None:
    found = dealt(100, 2 * budget)
    assert [sum(found[start : start + stretch]) for start in range(0, 100, stretch)] == [1] * budget


def test_few_prompts_that_get_less_are_spread_too() -> None:
    found = dealt(100, 2 * 90)
    assert [found[start : start + 10].count(0) for start in range(0, 100, 10)] == [1] * 10


def test_an_order_that_repeats_itself_is_not_followed() -> None:
    # Half of the prompts get a comparison; were it every second one, a file of alternating languages would lose one.
    found = dealt(400, 400)
    even = sum(found[::2])
    assert 70 < even < 130
    assert max(len(list(run)) for _, run in groupby(found)) == 2


def test_the_draw_depends_on_the_seed_and_on_nothing_else() -> None:
    assert dealt(50, 40) == dealt(50, 40)
    assert dealt(50, 40) != dealt(50, 40, seed=1)
