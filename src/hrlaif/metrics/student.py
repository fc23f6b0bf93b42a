"""The quantile of Student's t that a 95 % interval needs."""

from __future__ import annotations

import functools
import math
from itertools import accumulate, pairwise

_STEPS = 4000


@functools.lru_cache(maxsize=1024)
def student_975(freedom: float) -> float:
    """97.5 % quantile of Student's t with `freedom` degrees of freedom, at least 1; within 0.001 of the exact one.

    With `t = sqrt(freedom) tan(a)` the density becomes `cos(a)^(freedom - 1)`, whose integral from 0 to the quantile is
    0.475 of that from -pi/2 to pi/2: the trapezoid rule on 4000 steps.
    """
    # Beyond this angle there is nothing left of the density of many degrees of freedom.
    width = min(math.pi / 2, 12 / math.sqrt(freedom)) / _STEPS
    heights = [math.cos(step * width) ** (freedom - 1) for step in range(_STEPS + 1)]
    areas = list(accumulate((one + other) / 2 for one, other in pairwise(heights)))
    wanted = 0.95 * areas[-1]
    below = next(step for step, area in enumerate(areas) if area >= wanted)
    before = areas[below - 1] if below else 0.0
    angle = (below + (wanted - before) / (areas[below] - before)) * width
    return math.sqrt(freedom) * math.tan(angle)
