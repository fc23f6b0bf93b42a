"""Rates, means, agreement and preference with their 95 % intervals and counts; pure functions, no numpy.

What cannot be measured (no rows, or one row where a spread is needed) has the value NaN and keeps its count;
`measured` leaves such metrics out, so that a file never holds a number that means nothing.
"""

from hrlaif.metrics.agreement import agreement, cohen_kappa, flip_rate, krippendorff_alpha
from hrlaif.metrics.correlation import ranks, spearman
from hrlaif.metrics.means import bootstrap_mean, paired_difference
from hrlaif.metrics.preference import length_controlled_win_ratio, win_ratio
from hrlaif.metrics.ranking import bradley_terry, preferred
from hrlaif.metrics.runs import DIFFERENCE, FEWEST_RUNS, SHARE, Scale, mean_over_runs
from hrlaif.metrics.shares import (
    Seen,
    check_corrects,
    clustered_share,
    corrected_share,
    mcnemar,
    measured,
    paired_shares,
    paired_test,
    unmeasured,
    wilson,
)
from hrlaif.metrics.text import distinct_n, words

__all__ = [
    "DIFFERENCE",
    "FEWEST_RUNS",
    "SHARE",
    "Scale",
    "Seen",
    "agreement",
    "bootstrap_mean",
    "bradley_terry",
    "check_corrects",
    "clustered_share",
    "cohen_kappa",
    "corrected_share",
    "distinct_n",
    "flip_rate",
    "krippendorff_alpha",
    "length_controlled_win_ratio",
    "mcnemar",
    "mean_over_runs",
    "measured",
    "paired_difference",
    "paired_shares",
    "paired_test",
    "preferred",
    "ranks",
    "spearman",
    "unmeasured",
    "wilson",
    "win_ratio",
    "words",
]
