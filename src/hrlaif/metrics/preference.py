"""How often one arm's responses are preferred to another's on the same prompts, with and without its length."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from statistics import fmean

from hrlaif.metrics.calibration import sigmoid
from hrlaif.metrics.shares import Z_95, paired_shares, unmeasured
from hrlaif.types import Metric, Verdict

_WON = {Verdict.FIRST: (True, False), Verdict.SECOND: (False, True), Verdict.TIE: (False, False)}
_SLOPE_PENALTY = 0.01
_STEPS = 50


def win_ratio(verdicts: Iterable[Verdict], *, name: str = "win_ratio") -> Metric:
    """`(wins + ties / 2) / n`, where FIRST is a win; 0.5 is no preference. UNREADABLE rows are not counted.

    The interval is that of `paired_shares` (wins minus losses), halved and moved to 0.5: ties narrow it, and it has a
    width even when every row is a tie or a win.
    """
    balance = paired_shares([_WON[verdict] for verdict in verdicts if verdict in _WON], name=name)
    value, low, high = ((1 + share) / 2 for share in (balance.value, balance.low, balance.high))
    return Metric(name, value, low, high, balance.n, "share")


def length_controlled_win_ratio(
    verdicts: Sequence[Verdict],
    length_differences: Sequence[float],
    *,
    name: str = "win_ratio_length_controlled",
) -> Metric:
    """The win ratio that a logistic model expects between responses of equal length.

    Model: `P(win) = sigmoid(a + b tanh(d / s))`, d the length of the first minus that of the second in any unit, s
    their root mean square; a tie counts as half a win. Value: `sigmoid(a)`; interval: `sigmoid` of a +- 1.96 standard
    errors, scaled by how much the rows vary around the fit, so that ties narrow it. One added tie at d = 0 and a slight
    penalty on b keep the fit finite; where length and winning cannot be told apart the value goes to 0.5 and the
    interval is wide. UNREADABLE rows are not counted; fewer than two rows give no number (NaN).
    """
    rows = [
        ((1 + won - lost) / 2, difference)
        for verdict, difference in zip(verdicts, length_differences, strict=True)
        if verdict in _WON
        for won, lost in [_WON[verdict]]
    ]
    if len(rows) < 2:
        return unmeasured(name, n=len(rows), unit="share")
    scale = math.sqrt(fmean(difference**2 for _, difference in rows)) or 1.0
    points = [(target, math.tanh(difference / scale)) for target, difference in rows] + [(0.5, 0.0)]
    intercept, error = _fit(points)
    value, low, high = (sigmoid(intercept + side * error) for side in (0, -Z_95, Z_95))
    return Metric(name, value, low, high, len(rows), "share")


def _fit(points: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Intercept of the penalised logistic fit of (target, x), by Newton's method, and its standard error."""
    a = b = 0.0
    for _ in range(_STEPS):
        # Slope of the loss (ga, gb) and its curvature (haa, hab, hbb).
        ga, gb, haa, hab, hbb = 0.0, _SLOPE_PENALTY * b, 0.0, 0.0, _SLOPE_PENALTY
        for target, x in points:
            p = sigmoid(a + b * x)
            residual, weight = p - target, p * (1 - p)
            ga, gb = ga + residual, gb + residual * x
            haa, hab, hbb = haa + weight, hab + weight * x, hbb + weight * x * x
        determinant = haa * hbb - hab * hab
        step_a, step_b = (hbb * ga - hab * gb) / determinant, (haa * gb - hab * ga) / determinant
        a, b = a - step_a, b - step_b
        if abs(step_a) + abs(step_b) < 1e-9:
            break
    squares = sum((sigmoid(a + b * x) - target) ** 2 for target, x in points)
    # The 1/4 stands for the added tie as if it had been a win or a loss, so that all ties still leave a width.
    dispersion = (squares + 0.25) / (haa + 0.25)
    return a, math.sqrt(dispersion * hbb / determinant)
