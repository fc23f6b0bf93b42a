"""How fast an endpoint may be called: an even pace per minute, and a number in flight that adapts to what it takes.

The arithmetic is pure: the caller passes the time (seconds on any clock that only goes forward).
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable

from hrlaif.errors import BudgetError


class Pace:
    """Spreads `per_minute` units evenly, 0 means no limit. A tenth of a second may be made up after a late start."""

    LATE_S = 0.1

    def __init__(self, per_minute: float) -> None:
        self._s_per_unit = 60.0 / per_minute if per_minute else 0.0
        self._due = -math.inf

    def wait_s(self, now: float) -> float:
        """Seconds until the next take keeps the pace."""
        return max(0.0, self._due - now)

    def take(self, units: float, now: float) -> None:
        """Use up units; what lies ahead of the pace is waited for by the next one."""
        self._due = max(self._due, now - self.LATE_S) + units * self._s_per_unit

    def give_back(self, units: float) -> None:
        """Return units that were taken on an estimate and not used; negative where the estimate was too low."""
        self._due -= units * self._s_per_unit


class Window:
    """How many calls may be in flight, between 1 and `most`: additive increase, multiplicative decrease.

    Judged once per round (as many answers as the window holds). The share of a round that was turned away (rate
    limits, timeouts, overload) is the share by which the window shrinks, so a stray rejection hardly matters and an
    overload halves it at once. It doubles each round until the first overload and then grows by a fixed step. An
    answer that took more than half the timeout counts as turned away: timeouts would be next.
    """

    START = 32
    STRAY_SHARE = 0.05

    def __init__(self, most: int, *, timeout_s: float) -> None:
        self.size = float(min(self.START, most))
        self._most = most
        self._step = max(1.0, most / 32)
        self._slow_s = timeout_s / 2
        self._doubling = True
        self._answers = 0
        self._turned_away = 0

    def answered(self, seconds: float) -> None:
        """Count an answer that took so long."""
        self._count(turned_away=seconds > self._slow_s)

    def turned_away(self) -> None:
        """Count a rate limit, a timeout or an overload."""
        self._count(turned_away=True)

    def _count(self, *, turned_away: bool) -> None:
        self._answers += 1
        self._turned_away += turned_away
        if self._answers < self.size:
            return
        share = self._turned_away / self._answers
        self._answers = self._turned_away = 0
        self.size *= 1 - share
        if share > self.STRAY_SHARE:
            self._doubling = False
        else:
            self.size = self.size * 2 if self._doubling else self.size + self._step
        self.size = min(max(self.size, 1.0), float(self._most))


def spent(paid_usd: float, limit_usd: float) -> BudgetError:
    """The error of a budget that has reached its limit."""
    return BudgetError(
        f"The budget is spent: {paid_usd:.4f} USD of judge.budget_usd = {limit_usd:g} are paid. Every paid reply is "
        "kept in the ledger. Raise judge.budget_usd and run the same command to continue."
    )


class Budget:
    """A hard limit on what is paid. Each call holds its highest possible price until it is settled.

    A call that might exceed what is left waits for the calls in flight; the last one may go over by its own price.
    """

    def __init__(self, limit_usd: float, paid_usd: Callable[[], float]) -> None:
        self.limit_usd = limit_usd
        self._paid_usd = paid_usd
        self._held_usd: list[float] = []
        self._waiting: list[asyncio.Future[None]] = []

    async def hold(self, usd: float) -> None:
        """Set aside the price of one call; `settle` it when the call is over.

        Raises:
            BudgetError: The limit is reached.
        """
        if not self.limit_usd:
            return
        while True:
            paid = self._paid_usd()
            if paid >= self.limit_usd:
                raise spent(paid, self.limit_usd)
            if not self._held_usd or paid + math.fsum(self._held_usd) + usd <= self.limit_usd:
                break
            waiting = asyncio.get_running_loop().create_future()
            self._waiting.append(waiting)
            await waiting
        self._held_usd.append(usd)

    def settle(self, usd: float) -> None:
        """Release what `hold` set aside: the call is recorded, or has failed."""
        if not self.limit_usd:
            return
        self._held_usd.remove(usd)
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            if not future.done():
                future.set_result(None)
