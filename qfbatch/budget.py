"""The job's own budget: what is spent, what is on its way, and whether another row still fits. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from qfbatch.job.settings import Budget, Job
from qfbatch.records import Record
from qfbatch.wording import count, things


def cost_toward_budget(job: Job, spent: Mapping[str, float]) -> float:
    """What of the money spent counts toward `max_cost`: that in the currency of the job's prices.

    A job with such a budget has prices in one currency. What earlier sessions paid in another one, before the
    prices were changed, cannot be added to it without a rate of exchange, which nobody stated.
    """
    return sum(amount for currency, amount in spent.items() if _counts(job, currency))


def uncounted_note(job: Job, spent: Mapping[str, float]) -> str | None:
    """Says which money a budget of cost does not count; None where it counts all, or where there is none."""
    others = [f"{amount:,.4f} {name}" for name, amount in spent.items() if amount and not _counts(job, name)]
    if job.budget.max_cost is None or not others:
        return None
    return (
        f"budget.max_cost is in the prices' currency: {', '.join(others)} spent before are not counted in it"
    )


def _counts(job: Job, currency: str) -> bool:
    return not currency or any(price.currency == currency for model in job.models for price in model.prices)


class BudgetGuard:
    """Stops admitting rows in time, counting what is in flight.

    Args:
        budget: the limits; all None lets everything pass.
        spent_tokens, spent_cost: by earlier sessions of the run.

    Attributes:
        waiting: rows at hand that wait for room, kept by who has them wait.
    """

    def __init__(self, budget: Budget, *, spent_tokens: int = 0, spent_cost: float = 0.0) -> None:
        self._budget = budget
        self._tokens = float(spent_tokens)
        self._cost = spent_cost
        self._reserved_tokens = 0.0
        self._reserved_cost = 0.0
        self._on_their_way = 0
        self.waiting = 0

    @property
    def limited(self) -> bool:
        """Whether there is any limit."""
        return self._budget.max_cost is not None or self._budget.max_total_tokens is not None

    @property
    def has_room(self) -> bool:
        """Whether another row may start, beside what is expected of those on their way."""
        max_tokens, max_cost = self._budget.max_total_tokens, self._budget.max_cost
        return (max_tokens is None or self._tokens + self._reserved_tokens < max_tokens) and (
            max_cost is None or self._cost + self._reserved_cost < max_cost
        )

    def used_up(self) -> str | None:
        """Which limit is spent, as a clause; None while rows on their way may yet leave room."""
        max_tokens, max_cost = self._budget.max_total_tokens, self._budget.max_cost
        if max_tokens is not None and self._tokens >= max_tokens:
            spent = things(round(self._tokens), "token")
            return f"budget.max_total_tokens ({count(max_tokens)}) is used up: {spent} spent"
        if max_cost is not None and self._cost >= max_cost:
            return f"budget.max_cost ({count(max_cost)}) is used up: {self._cost:,.4f} spent"
        return None

    def reserve(self, tokens: float, cost: float) -> None:
        """A row of this expected size starts."""
        self._reserved_tokens += tokens
        self._reserved_cost += cost
        self._on_their_way += 1

    def release(self, tokens: float, cost: float) -> None:
        """That row ended, recorded or not."""
        self._reserved_tokens -= tokens
        self._reserved_cost -= cost
        self._on_their_way -= 1
        if self._on_their_way == 0:
            # What floats leave over would look like a row on its way, and be waited for in vain.
            self._reserved_tokens = self._reserved_cost = 0.0

    @property
    def spent(self) -> tuple[float, float]:
        """Tokens and cost so far."""
        return self._tokens, self._cost

    @property
    def reserved(self) -> tuple[float, float]:
        """Tokens and cost expected of rows on their way."""
        return self._reserved_tokens, self._reserved_cost

    def allow(self, budget: Budget) -> None:
        """Go on within other limits."""
        self._budget = budget

    def spend(self, record: Record) -> None:
        """Count what a recorded row cost, dropped answers included."""
        self._tokens += (record.total_tokens or 0) + record.discarded_tokens
        self._cost += (record.cost or 0.0) + (record.discarded_cost or 0.0)
