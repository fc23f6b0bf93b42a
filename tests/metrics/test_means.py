import math
import random
from statistics import fmean

import pytest
from scipy import stats

from hrlaif.metrics import bootstrap_mean, paired_difference


def test_the_mean_and_an_interval_close_to_students_on_normal_data() -> None:
    values = stats.norm.rvs(10, 2, size=25, random_state=1)
    student = stats.t.interval(0.95, 24, loc=values.mean(), scale=stats.sem(values))
    metric = bootstrap_mean(list(values), name="length", seed=0, unit="words")
    assert metric.value == pytest.approx(values.mean())
    assert (metric.n, metric.unit) == (25, "words")
    width = student[1] - student[0]
    assert metric.low == pytest.approx(student[0], abs=0.06 * width)
    assert metric.high == pytest.approx(student[1], abs=0.06 * width)


def test_the_same_seed_gives_the_same_interval() -> None:
    values = [float(value) for value in range(30)]
    assert bootstrap_mean(values, name="x", seed=7) == bootstrap_mean(values, name="x", seed=7)
    assert len({bootstrap_mean(values, name="x", seed=seed) for seed in range(10)}) > 1


def test_skewed_values_reach_further_on_the_side_of_their_tail_by_hand() -> None:
    # Mean 3, standard error sqrt(80 / 4 / 5) = 2, t with 4 degrees of freedom 2.776445, skewness 192 / 64 / 2 = 1.5:
    # shift 1.5 (1 + 2 * 2.776445^2) / (6 sqrt(5)) = 1.835509.
    metric = bootstrap_mean([1.0, 1.0, 1.0, 1.0, 11.0], name="x", seed=0)
    assert metric.value == 3.0
    assert metric.low == pytest.approx(3 - 2 * 2.776445, abs=1e-5)
    assert metric.high == pytest.approx(3 + 2 * (1.835509 + 2.776445), abs=1e-5)


def test_large_and_small_paths_agree_just_below_and_above_the_limit() -> None:
    values = stats.expon.rvs(size=500, random_state=2).tolist()
    large, small = bootstrap_mean(values, name="x", seed=0), bootstrap_mean(values[:-1], name="x", seed=0)
    assert large.high - large.low == pytest.approx(small.high - small.low, rel=0.1)
    # The longer tail is above, so below it is Student's interval alone, here nearly the normal one.
    assert large.value - large.low == pytest.approx(1.964729 * stats.sem(values), rel=1e-5)


@pytest.mark.parametrize("clusters", [40, 600])
def test_copies_of_a_row_in_one_cluster_add_no_certainty(clusters: int) -> None:
    values = stats.norm.rvs(size=clusters, random_state=3).tolist()
    once = bootstrap_mean(values, name="x", seed=0)
    keys = list(range(clusters)) * 9
    copied = bootstrap_mean(values * 9, name="x", seed=0, clusters=keys)
    naive = bootstrap_mean(values * 9, name="x", seed=0)
    assert (copied.low, copied.high) == (pytest.approx(once.low), pytest.approx(once.high))
    assert copied.n == 9 * clusters
    assert naive.high - naive.low < 0.4 * (copied.high - copied.low)


def test_fewer_than_two_clusters_give_no_number() -> None:
    assert math.isnan(bootstrap_mean([], name="x", seed=0).value)
    assert math.isnan(bootstrap_mean([3.0], name="x", seed=0).value)
    same_prompt = bootstrap_mean([3.0, 4.0], name="x", seed=0, clusters=["p", "p"])
    assert (math.isnan(same_prompt.low), same_prompt.n) == (True, 2)


def test_a_paired_difference_is_far_sharper_than_its_two_means() -> None:
    second = [float(value) for value in range(0, 300, 10)]
    first = [value + 2 + (-1) ** index for index, value in enumerate(second)]
    # Every row differs by 3 or by 1: mean 2, although the rows themselves range over hundreds.
    metric = paired_difference(first, second, name="length", seed=0)
    assert metric.value == pytest.approx(2.0)
    assert 1.5 < metric.low < metric.high < 2.5


def test_rows_that_do_not_match_cannot_be_paired() -> None:
    with pytest.raises(ValueError, match="zip"):
        paired_difference([1.0, 2.0], [1.0], name="x", seed=0)


@pytest.mark.parametrize("clusters", [6, 20])
def test_the_interval_covers_the_true_mean_about_95_times_of_100(clusters: int) -> None:
    draw = random.Random(5)
    covered = 0
    for repeat in range(300):
        values: list[float] = []
        keys: list[int] = []
        for cluster in range(clusters):
            shared = draw.gauss(0, 1)
            values += [shared + draw.gauss(0, 0.5) for _ in range(3)]
            keys += [cluster] * 3
        metric = bootstrap_mean(values, name="x", seed=repeat, clusters=keys)
        assert metric.value == pytest.approx(fmean(values))
        covered += metric.low <= 0.0 <= metric.high
    assert 0.92 * 300 <= covered <= 0.98 * 300
