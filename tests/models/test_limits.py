import asyncio
import math

import pytest

from hrlaif.errors import BudgetError
from hrlaif.models.limits import Budget, Pace, Window


def test_a_pace_spreads_the_minute_evenly() -> None:
    pace = Pace(120)  # one each 0.5 s
    assert pace.wait_s(now=100.0) == 0.0
    pace.take(1, now=100.0)
    # a tenth of a second may be made up: due at 100 - 0.1 + 0.5
    assert pace.wait_s(now=100.0) == pytest.approx(0.4)
    pace.take(1, now=100.4)
    assert pace.wait_s(now=100.4) == pytest.approx(0.5)


def test_a_pace_keeps_its_limit_over_a_minute() -> None:
    pace, now, taken = Pace(60), 0.0, 0
    while now < 60.0:
        pace.take(1, now)
        taken += 1
        now += pace.wait_s(now)
    assert taken == 61  # one a second, and the one that the first 0.1 s make up for


def test_idle_time_is_not_saved_up() -> None:
    pace = Pace(60)
    pace.take(1, now=0.0)
    for _ in range(2):
        pace.take(1, now=1000.0)
    assert pace.wait_s(now=1000.0) == pytest.approx(1.9)


def test_units_given_back_shorten_the_wait() -> None:
    pace = Pace(600)  # 10 a second
    pace.take(100, now=0.0)
    pace.give_back(90)
    assert pace.wait_s(now=0.0) == pytest.approx(0.9)


def test_no_limit_never_waits() -> None:
    pace = Pace(0)
    pace.take(1e9, now=0.0)
    assert pace.wait_s(now=0.0) == 0.0


def one_round(window: Window, *, turned_away: int) -> None:
    answers = math.ceil(window.size)
    for number in range(answers):
        if number < turned_away:
            window.turned_away()
        else:
            window.answered(0.1)


def test_a_window_doubles_each_round_up_to_its_most() -> None:
    window = Window(100, timeout_s=10)
    sizes = []
    for _ in range(3):
        sizes.append(window.size)
        one_round(window, turned_away=0)
    assert sizes == [32, 64, 100]
    assert Window(8, timeout_s=10).size == 8


def test_a_window_shrinks_by_the_share_that_was_turned_away_and_then_grows_by_steps() -> None:
    window = Window(64, timeout_s=10)
    one_round(window, turned_away=24)
    assert window.size == 8  # 24 of 32 turned away leave a quarter
    one_round(window, turned_away=0)
    assert window.size == 10  # 64 / 32 = 2 more, no doubling any longer


def test_a_stray_rejection_does_not_stop_the_growth() -> None:
    window = Window(256, timeout_s=10)
    one_round(window, turned_away=1)
    assert window.size == 62  # 31 of 32, doubled


def test_a_window_never_closes() -> None:
    window = Window(4, timeout_s=10)
    for _ in range(20):
        window.turned_away()
    assert window.size == 1


def test_an_answer_that_took_more_than_half_the_timeout_counts_as_turned_away() -> None:
    window = Window(4, timeout_s=10)
    for seconds in (5.1, 5.1, 4.9, 4.9):
        window.answered(seconds)
    assert window.size == 2


def test_a_budget_lets_calls_go_while_their_highest_price_fits() -> None:
    paid = [0.0]

    async def scenario() -> None:
        budget = Budget(1.0, lambda: paid[0])
        await budget.hold(0.6)
        second = asyncio.ensure_future(budget.hold(0.6))
        await asyncio.sleep(0)
        assert not second.done()  # 0.6 + 0.6 might exceed 1
        paid[0] = 0.2
        budget.settle(0.6)
        await second
        paid[0] = 1.0
        with pytest.raises(BudgetError, match=r"1\.0000 USD.*budget_usd = 1"):
            await budget.hold(0.6)

    asyncio.run(scenario())


def test_a_lone_call_may_go_over_so_that_a_budget_is_used_up() -> None:
    async def scenario() -> None:
        budget = Budget(1.0, lambda: 0.9)
        await budget.hold(0.6)

    asyncio.run(scenario())
