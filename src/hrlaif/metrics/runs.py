"""One number from several runs that differ in their seed: what another seed on other prompts of the kind would give."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean
from typing import NamedTuple

from hrlaif.errors import DataError
from hrlaif.metrics.shares import unmeasured
from hrlaif.metrics.student import student_975
from hrlaif.types import Metric

FEWEST_RUNS = 3


class Scale(NamedTuple):
    """What values may be. `added` are prompts that only the interval sees, so that it keeps a width where all agree."""

    low: float
    high: float
    added: tuple[float, ...]


ANY = Scale(-math.inf, math.inf, ())
# Two successes and two failures more (Agresti and Coull 1998); and what half a row in each cell of the two by two table
# adds to a paired difference, as in `paired_shares`: nothing to its sum, 1 to its sum of squares.
SHARE = Scale(0.0, 1.0, (1.0, 1.0, 0.0, 0.0))
DIFFERENCE = Scale(-1.0, 1.0, (math.sqrt(0.5), -math.sqrt(0.5)))


def mean_over_runs(values_RP: Sequence[Sequence[float]], *, name: str, scale: Scale = ANY, unit: str = "") -> Metric:
    """The mean over runs and prompts, whose interval speaks of other seeds and of other prompts at once.

    `values_RP[r][p]` is what run r measured on prompt p; every run has every prompt. Runs and prompts are both drawn at
    random and crossed (two-way random effects). With the mean squares MS of an analysis of variance, `MS_runs / (R P)`
    of the mean's variance is that of the runs, and `max(0, MS_prompts - MS_rest) / (R P)` is left for the prompts. Each
    is known with its own degrees of freedom, R - 1 and P - 1, and reaches as far as its own Student's t:

        reach^2 = (t_R^2 MS_runs + t_P^2 max(0, MS_prompts - MS_rest)) / (R P), at least t_P^2 MS_prompts / (R P).

    `n` counts the prompts. Fewer than three runs or two prompts give no number (NaN): how far runs differ is then not
    known.

    Raises:
        DataError: The runs have different numbers of prompts.
    """
    runs, prompts = len(values_RP), len(values_RP[0]) if values_RP else 0
    if any(len(row) != prompts for row in values_RP):
        raise DataError(f"{name}: runs with different prompts cannot be averaged. Keep those that all runs have.")
    if runs < FEWEST_RUNS or prompts < 2:
        return unmeasured(name, n=prompts, unit=unit)
    mean = fmean(fmean(row) for row in values_RP)
    centre, reach = _interval([[*row, *scale.added] for row in values_RP])
    low, high = max(scale.low, centre - reach), min(scale.high, centre + reach)
    return Metric(name, mean, min(mean, low), max(mean, high), prompts, unit)


def _interval(values_RP: Sequence[Sequence[float]]) -> tuple[float, float]:
    """The centre of the interval and how far it reaches to each side."""
    runs, prompts = len(values_RP), len(values_RP[0])
    of_run = [fmean(row) for row in values_RP]
    of_prompt = [fmean(column) for column in zip(*values_RP, strict=True)]
    mean = fmean(of_run)
    squares = math.fsum((value - mean) ** 2 for row in values_RP for value in row)
    ss_runs = prompts * math.fsum((value - mean) ** 2 for value in of_run)
    ss_prompts = runs * math.fsum((value - mean) ** 2 for value in of_prompt)
    ms_runs, ms_prompts = ss_runs / (runs - 1), ss_prompts / (prompts - 1)
    ms_rest = max(0.0, squares - ss_runs - ss_prompts) / ((runs - 1) * (prompts - 1))
    from_runs, from_prompts = (
        student_975(rows - 1) ** 2 * square for rows, square in ((runs, ms_runs), (prompts, ms_prompts))
    )
    only_prompts = student_975(prompts - 1) ** 2 * max(0.0, ms_prompts - ms_rest)
    return mean, math.sqrt(max(from_runs + only_prompts, from_prompts) / (runs * prompts))
