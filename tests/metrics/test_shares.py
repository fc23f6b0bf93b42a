import itertools
import json
import math
import random

import pytest
from scipy import stats

from hrlaif.errors import DataError
from hrlaif.metrics import (
    Seen,
    clustered_share,
    corrected_share,
    mcnemar,
    measured,
    paired_shares,
    unmeasured,
    wilson,
)


@pytest.mark.parametrize(("successes", "n"), [(0, 1), (0, 40), (7, 10), (57, 60), (40, 40), (333, 1000)])
def test_wilson_is_the_interval_that_scipy_gives(successes: int, n: int) -> None:
    expected = stats.binomtest(successes, n).proportion_ci(0.95, method="wilson")
    metric = wilson(successes, n, name="x")
    assert (metric.value, metric.n) == (successes / n, n)
    assert metric.low == pytest.approx(expected.low, abs=1e-12)
    assert metric.high == pytest.approx(expected.high, abs=1e-12)


def test_wilson_at_eight_of_ten_worked_out_by_hand() -> None:
    # z^2 = 3.841459; centre (0.8 + 0.192073) / 1.384146 = 0.716740;
    # reach 1.959964 sqrt(0.016 + 0.009604) / 1.384146 = 0.226577.
    metric = wilson(8, 10, name="satisfaction")
    assert (metric.low, metric.high) == (pytest.approx(0.490162, abs=1e-6), pytest.approx(0.943318, abs=1e-6))


def test_no_rows_give_no_number_and_no_key_in_a_file() -> None:
    nothing = wilson(0, 0, name="harmful")
    assert math.isnan(nothing.value)
    assert math.isnan(nothing.low)
    assert nothing.n == 0
    kept = measured([nothing, wilson(1, 2, name="correct"), unmeasured("reward", n=1)])
    assert list(kept) == ["correct"]
    assert json.loads(json.dumps(kept, allow_nan=False))["correct"]["n"] == 2


@pytest.mark.parametrize("successes", [-1, 3])
def test_a_count_outside_its_rows_is_an_error_that_shows_it(successes: int) -> None:
    with pytest.raises(DataError, match=f"correct: {successes} of 2"):
        wilson(successes, 2, name="correct")


@pytest.mark.parametrize(("b", "c"), [(0, 0), (1, 0), (5, 5), (3, 12), (40, 17), (600, 700)])
def test_mcnemar_is_the_exact_binomial_test(b: int, c: int) -> None:
    expected = stats.binomtest(b, b + c, 0.5).pvalue if b + c else 1.0
    assert mcnemar(b, c) == pytest.approx(expected, rel=1e-9)


def test_mcnemar_of_one_against_five_by_hand() -> None:
    # Of 64 equally likely outcomes, 1 + 6 have at most one; both sides: 14 / 64.
    assert mcnemar(1, 5) == 14 / 64


def test_paired_shares_counts_only_rows_on_which_the_two_differ() -> None:
    rows = [(True, True)] * 4 + [(True, False)] * 3 + [(False, True)] * 1 + [(False, False)] * 2
    metric = paired_shares(rows, name="satisfaction")
    # b = 3, c = 1, n = 10: centre 2/12; reach 1.959964 sqrt(5 - 4/12) / 12 = 0.352834.
    assert metric.value == pytest.approx(0.2)
    assert metric.low == pytest.approx(2 / 12 - 0.352834, abs=1e-6)
    assert metric.high == pytest.approx(2 / 12 + 0.352834, abs=1e-6)
    assert metric.n == 10


def test_paired_shares_that_never_differ_still_have_a_width_that_shrinks_with_the_count() -> None:
    few, many = (paired_shares([(True, True)] * n, name="x") for n in (4, 98))
    assert (few.value, few.high) == (0.0, pytest.approx(1.959964 / 6, abs=1e-6))
    assert many.high == pytest.approx(0.01959964, abs=1e-6)


def test_paired_intervals_hold_their_value_and_stay_in_range_whatever_the_counts() -> None:
    for n in (1, 2, 5, 30):
        for b, c in itertools.product(range(n + 1), repeat=2):
            if b + c <= n:
                rows = [(True, False)] * b + [(False, True)] * c + [(True, True)] * (n - b - c)
                metric = paired_shares(rows, name="x")
                assert -1 <= metric.low <= metric.value <= metric.high <= 1


def test_corrected_share_undoes_the_errors_of_the_judge() -> None:
    # 30 % true; sensitivity 0.8, specificity 0.9: seen 0.3 * 0.8 + 0.7 * 0.1 = 0.31.
    metric = corrected_share(310, 1000, sensitivity=Seen(80, 100), specificity=Seen(90, 100), name="harmful")
    assert (metric.value, metric.n) == (pytest.approx(0.3), 1000)


def test_the_corrected_interval_holds_the_uncertainty_of_the_labelled_rows_too() -> None:
    # Where the labelled rows are many, it is Wilson's width by the judge's news, 0.8 + 0.9 - 1; with few it is wider.
    exact, rough = (
        corrected_share(310, 1000, sensitivity=Seen(8 * m, 10 * m), specificity=Seen(9 * m, 10 * m), name="harmful")
        for m in (10**6, 2)
    )
    seen = wilson(310, 1000, name="harmful")
    assert exact.high - exact.low == pytest.approx((seen.high - seen.low) / 0.7, rel=1e-3)
    assert rough.high - rough.low > 3 * (exact.high - exact.low)


def test_corrected_share_is_clipped_and_refuses_a_judge_at_chance_or_never_measured() -> None:
    good, bad = Seen(90, 100), Seen(10, 100)
    below = corrected_share(1, 100, sensitivity=good, specificity=good, name="harmful")
    assert (below.value, below.low) == (0.0, 0.0)
    assert math.isnan(corrected_share(0, 0, sensitivity=good, specificity=good, name="harmful").value)
    with pytest.raises(DataError, match="no better than chance"):
        corrected_share(1, 100, sensitivity=bad, specificity=good, name="harmful")
    with pytest.raises(DataError, match="both kinds"):
        corrected_share(1, 100, sensitivity=Seen(0, 0), specificity=good, name="harmful")


def test_where_the_labelled_rows_may_be_chance_the_corrected_interval_is_everything() -> None:
    # Sensitivity 150 of 1000, specificity 6 of 7: 1.007. Shrunken 151/1002 + 7/9 = 0.93.
    metric = corrected_share(20, 100, sensitivity=Seen(150, 1000), specificity=Seen(6, 7), name="harmful")
    assert (metric.low, metric.high) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("true", "se", "sp", "n", "labelled"),
    [(0.1, 0.8, 0.9, 200, 60), (0.5, 0.6, 0.7, 200, 150), (0.9, 0.7, 0.8, 50, 40)],
)
def test_the_corrected_interval_covers_the_truth_about_95_times_of_100(true, se, sp, n, labelled) -> None:
    draw = random.Random(0)

    def counted(share: float, rows: int) -> int:
        return sum(draw.random() < share for _ in range(rows))

    covered = 0
    for _ in range(1000):
        metric = corrected_share(
            counted(true * se + (1 - true) * (1 - sp), n),
            n,
            sensitivity=Seen(counted(se, labelled), labelled),
            specificity=Seen(counted(sp, labelled), labelled),
            name="x",
        )
        covered += metric.low <= true <= metric.high
    assert 930 <= covered <= 990


@pytest.mark.parametrize(("n", "share"), [(12, 0.3), (40, 0.5), (40, 0.9), (200, 0.05)])
def test_wilson_covers_the_truth_about_95_times_of_100(n: int, share: float) -> None:
    # Exact coverage: the probability of every count whose interval holds the truth.
    covered = 0.0
    for k in range(n + 1):
        metric = wilson(k, n, name="x")
        covered += stats.binom.pmf(k, n, share) * (metric.low <= share <= metric.high)
    assert 0.925 <= covered <= 0.98


@pytest.mark.parametrize(("n", "b", "c"), [(30, 0.3, 0.1), (100, 0.1, 0.1), (100, 0.05, 0.2)])
def test_paired_shares_cover_the_true_difference_about_95_times_of_100(n: int, b: float, c: float) -> None:
    draw = random.Random(3)
    kinds = [(True, False), (False, True), (True, True)]
    covered = 0
    for _ in range(1000):
        metric = paired_shares(draw.choices(kinds, (b, c, 1 - b - c), k=n), name="x")
        covered += metric.low <= b - c <= metric.high
    assert 930 <= covered <= 980


def test_rows_of_a_cluster_that_stand_or_fall_together_count_as_fewer() -> None:
    # 6 rows of 3 clusters of 3, 2 and 1: 36 / 14 rows; of equal clusters as many as there are clusters.
    metric = clustered_share([(3, 3), (0, 2), (1, 1), (0, 0)], name="x")
    assert (metric.value, metric.n) == (pytest.approx(4 / 6), 3)
    even = clustered_share([(2, 2), (0, 2), (2, 2), (1, 2)], name="x")
    assert (even.low, even.high) == pytest.approx((wilson(2.5, 4, name="x").low, wilson(2.5, 4, name="x").high))
    assert metric.high - metric.low > wilson(2, 3, name="x").high - wilson(2, 3, name="x").low
    assert math.isnan(clustered_share([(0, 0)], name="x").value)


def test_the_interval_of_a_clustered_share_holds_the_truth_where_clusters_stand_or_fall_together() -> None:
    draw, held, times = random.Random(0), 0, 1500
    for _ in range(times):
        sizes = [draw.choice((1, 1, 3)) for _ in range(30)]
        metric = clustered_share([(size * (draw.random() < 0.4), size) for size in sizes], name="x")
        held += metric.low <= 0.4 <= metric.high
    assert 0.93 <= held / times <= 0.975
