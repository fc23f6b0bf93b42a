import math
import random

import numpy as np
import pytest
from scipy import stats

from hrlaif.errors import DataError
from hrlaif.metrics import DIFFERENCE, SHARE, mean_over_runs, paired_shares
from hrlaif.metrics.student import student_975


@pytest.mark.parametrize("freedom", [1.0, 1.7, 2.0, 3.0, 4.5, 10.0, 57.0, 58.0, 300.0, 5000.0])
def test_the_quantile_is_the_one_that_scipy_gives(freedom: float) -> None:
    assert student_975(freedom) == pytest.approx(stats.t.ppf(0.975, freedom), abs=1e-3)


def test_three_runs_on_two_prompts_by_hand() -> None:
    # Run means 1, 2, 3; prompt means 1, 3; nothing is left over. MS_runs = 2 * 2 / 2 = 2, MS_prompts = 3 * 2 / 1 = 6,
    # MS_rest = 0. Student's t is 4.302653 with 2 degrees of freedom and 12.7062 with 1.
    metric = mean_over_runs([[0, 2], [1, 3], [2, 4]], name="x")
    assert (metric.value, metric.n) == (2.0, 2)
    assert metric.high - 2.0 == pytest.approx(math.sqrt((4.302653**2 * 2 + 12.7062**2 * 6) / 6), abs=1e-3)


def test_where_runs_are_alike_it_is_students_interval_over_the_prompts() -> None:
    values = stats.norm.rvs(size=400, random_state=1)
    metric = mean_over_runs([list(values)] * 4, name="x")
    low, high = stats.t.interval(0.95, 399, loc=values.mean(), scale=stats.sem(values))
    assert (metric.low, metric.high) == (pytest.approx(low, abs=1e-4), pytest.approx(high, abs=1e-4))


def test_where_prompts_are_alike_it_is_students_interval_over_the_runs() -> None:
    of_run = [0.2, 0.5, 0.4, 0.9]
    metric = mean_over_runs([[value] * 50 for value in of_run], name="x")
    low, high = stats.t.interval(0.95, 3, loc=np.mean(of_run), scale=stats.sem(of_run))
    assert (metric.low, metric.high) == (pytest.approx(low, abs=1e-4), pytest.approx(high, abs=1e-4))


def test_shares_that_never_vary_keep_a_width_and_stay_in_range() -> None:
    nobody = mean_over_runs([[0.0] * 40] * 3, name="x", scale=SHARE)
    # 2 of 44 and Student's t with 43 degrees of freedom: 2 / 44 + 2.0167 sqrt(2 * 42 / 44 / 43 / 44).
    assert (nobody.low, nobody.value) == (0.0, 0.0)
    assert nobody.high == pytest.approx(2 / 44 + 2.0167 * math.sqrt(2 * 42 / 44 / 43 / 44), abs=1e-4)
    alike = mean_over_runs([[0.0] * 98] * 3, name="x", scale=DIFFERENCE)
    assert alike.high == pytest.approx(paired_shares([(True, True)] * 98, name="x").high, rel=0.03)


def test_two_runs_or_one_prompt_give_no_number_and_unlike_prompts_are_an_error() -> None:
    assert math.isnan(mean_over_runs([[1, 2], [3, 4]], name="x").value)
    assert math.isnan(mean_over_runs([[1], [2], [3]], name="x").value)
    assert math.isnan(mean_over_runs([], name="x").value)
    with pytest.raises(DataError, match="different prompts"):
        mean_over_runs([[1, 2], [1], [1, 2]], name="x")


@pytest.mark.parametrize(("of_runs", "of_prompts"), [(1.0, 1.0), (0.0, 1.0), (0.3, 0.0)])
def test_the_interval_covers_the_mean_of_all_runs_and_prompts(of_runs: float, of_prompts: float) -> None:
    draw = random.Random(4)
    covered = 0
    for _ in range(1000):
        prompts = [draw.gauss(0, of_prompts) for _ in range(30)]
        shifts = [draw.gauss(0, of_runs) for _ in range(4)]
        values = [[shift + one + draw.gauss(0, 1) for one in prompts] for shift in shifts]
        metric = mean_over_runs(values, name="x")
        covered += metric.low <= 0 <= metric.high
    assert 930 <= covered <= 995
