"""A run's budget, dealt out to its nodes in portions that become smaller as it comes to its end. Pure."""

from __future__ import annotations

import math

from msgspec import Struct

from qfbatch.job.settings import Budget
from qfbatch.wording import count, things


class Spending(Struct, frozen=True):
    """What a node has made of its portion of the budget.

    Attributes:
        tokens, cost: spent in its life.
        reserved_tokens, reserved_cost: expected of rows on their way.
        short: whether a row waits for room.
        idle: whether it has no row that could be asked.
    """

    tokens: float = 0.0
    cost: float = 0.0
    reserved_tokens: float = 0.0
    reserved_cost: float = 0.0
    short: bool = False
    idle: bool = False


class _Portion(Struct):
    spending: Spending = Spending()
    tokens: float = 0.0
    cost: float = 0.0
    gone: bool = False


class Allowances:
    """Portions of a budget; together they never exceed it.

    A node may start a row while it has spent and reserved less than its portion, as one process does with the
    whole. So the budget is exceeded by the last row of each node, and where answers cost more than expected.

    Args:
        budget: the run's.
        spent_tokens, spent_cost: by earlier sessions.
    """

    def __init__(self, budget: Budget, *, spent_tokens: float = 0.0, spent_cost: float = 0.0) -> None:
        self._budget = budget
        self._tokens = spent_tokens
        self._cost = spent_cost
        self._portions: dict[str, _Portion] = {}

    def exchange(self, node: str, spending: Spending) -> Budget:
        """Take a node's account; its portion from now on, of all it has spent and will spend in its life."""
        portion = self._portions.setdefault(node, _Portion())
        portion.spending = spending
        if spending.idle:
            portion.tokens, portion.cost = spending.tokens, spending.cost
        else:
            more = self._more(
                self._budget.max_total_tokens,
                portion.tokens - spending.tokens - spending.reserved_tokens,
                self._free_tokens(),
            )
            portion.tokens += math.ceil(more)
            portion.cost += self._more(
                self._budget.max_cost,
                portion.cost - spending.cost - spending.reserved_cost,
                self._free_cost(),
            )
        return Budget(
            max_cost=None if self._budget.max_cost is None else portion.cost,
            max_total_tokens=None if self._budget.max_total_tokens is None else int(portion.tokens),
        )

    def leave(self, node: str) -> None:
        """A node is gone; what it has spent stays spent."""
        portion = self._portions.get(node)
        if portion is not None:
            portion.tokens, portion.cost = portion.spending.tokens, portion.spending.cost
            portion.gone = True

    def used_up(self) -> str | None:
        """Which limit is spent, as a clause; None while rows on their way may yet leave room."""
        here = [p for p in self._portions.values() if not p.gone and not p.spending.idle]
        if not here or not all(self._has_spent_all(portion) for portion in here):
            return None
        if self._budget.max_total_tokens is not None and self._free_tokens() < 1:
            spent = self._tokens + sum(p.spending.tokens for p in self._portions.values())
            limit = self._budget.max_total_tokens
            return (
                f"budget.max_total_tokens ({count(limit)}) is used up: {things(round(spent), 'token')} spent"
            )
        if self._budget.max_cost is not None and self._free_cost() <= self._budget.max_cost * 1e-9:
            spent = self._cost + sum(p.spending.cost for p in self._portions.values())
            return f"budget.max_cost ({count(self._budget.max_cost)}) is used up: {spent:,.4f} spent"
        return None

    def _has_spent_all(self, portion: _Portion) -> bool:
        """Whether a node has nothing left of what it holds now: it was short before it got that."""
        budget, spending = self._budget, portion.spending
        return (
            spending.short
            and not spending.reserved_tokens
            and (
                (budget.max_total_tokens is not None and spending.tokens >= portion.tokens)
                or (budget.max_cost is not None and spending.cost >= portion.cost - budget.max_cost * 1e-9)
            )
        )

    def _more(self, limit: float | None, room: float, free: float) -> float:
        """What to add to a portion that has so much room, out of what is free."""
        if limit is None:
            return 0.0
        here = sum(not portion.gone for portion in self._portions.values())
        portion = max(free / (2 * here), min(free, limit / 1000))
        return max(0.0, min(free, portion - max(0.0, room)))

    def _free_tokens(self) -> float:
        limit = self._budget.max_total_tokens
        dealt = self._tokens + sum(max(p.tokens, p.spending.tokens) for p in self._portions.values())
        return max(0.0, (limit or 0) - dealt)

    def _free_cost(self) -> float:
        dealt = self._cost + sum(max(p.cost, p.spending.cost) for p in self._portions.values())
        return max(0.0, (self._budget.max_cost or 0.0) - dealt)


__all__ = ["Allowances", "Spending"]
