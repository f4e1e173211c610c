"""What stands beside a run's figures: its sessions, what was paid and is not in the results, plan and actual.

Pure, and without polars: whatever reads rows comes from `summary` and `superseded`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
from msgspec import Struct

from qfbatch.planning.plans import ModelPlan, Prediction
from qfbatch.pricing import SECONDS_PER_HOUR, Price
from qfbatch.reporting.figures import Cost, Figures, Summary, TimeCost


class Stay(Struct, frozen=True):
    """One process's stay in a run, as far as accounts go.

    Attributes:
        ended: it closed the run directory in order, however its run ended.
        in_flight: calls that could be on their way at once; 0 where that was not kept.
    """

    ended: bool
    in_flight: int


class Activity(Struct, frozen=True):
    """The sessions of a run.

    Attributes:
        sessions: how many there were.
        killed: of these, ended without a word (SIGKILL, power loss); one that still runs is not.
        running: whether a process works on the run right now.
        active_s: from a session's first call to its last answer, summed over the sessions.
        rows_per_s, tokens_per_s: rows ended and `Tokens.total` over that time; None where none passed.
        repeated_at_most: answers that may have been paid for and lost when sessions were killed, and were
            asked for again: what can have been in flight, and one group not yet on disk, for each. How many
            it really were nobody here knows.
    """

    sessions: int
    killed: int
    running: bool
    active_s: float
    rows_per_s: float | None
    tokens_per_s: float | None
    repeated_at_most: int


class Superseded(Struct, frozen=True):
    """Answers that were paid for and set aside, because their rows changed or went from the input.

    Attributes:
        rows: rows with a record there that no row of the results has taken over.
        tokens: paid for them, dropped answers included.
        cost: of these, by currency.
    """

    rows: int
    tokens: int
    cost: tuple[Cost, ...]


class Deviation(Struct, frozen=True):
    """A figure as planned and as it came.

    Attributes:
        planned: None where the plan does not say.
        actual: None where it is not known.
        relative: what is more than planned, as a share of the plan (-0.1: a tenth less); None where either is
            missing or the plan is 0.
    """

    planned: float | None
    actual: float | None
    relative: float | None


class ModelOutcome(Struct, frozen=True):
    """One model's plan and what came of it.

    Attributes:
        model: its name in the job.
        rows: rows to be asked, and rows that have ended.
        prompt_tokens, completion_tokens: of the answers in the results.
        cost: of these, in `currency`.
        time_cost: of units billed by the hour, likewise.
        currency: None without a price.
    """

    model: str
    rows: Deviation
    prompt_tokens: Deviation
    completion_tokens: Deviation
    cost: Deviation
    time_cost: Deviation
    currency: str | None


class Outcome(Struct, frozen=True):
    """What was planned at the starts of a run, and what came.

    Every session keeps the plan it starts with. The first one's counts in full; a later one's only for rows
    that no earlier plan had (a limit lifted, a model added), so nothing is planned twice. Failed rows asked
    again are no new rows: their answers were planned, and came late.

    Attributes:
        planned_at: when the first session started: ISO 8601, UTC.
        binding: the limit that was to decide the time, by the first plan.
        models: in the plan's order; those the plan does not have are left out.
        total_tokens: prompt and completion, of these models.
        time_s: seconds of calls: planned, and `Activity.active_s`.
    """

    planned_at: str
    binding: str
    models: tuple[ModelOutcome, ...]
    total_tokens: Deviation
    time_s: Deviation


def activity(stays: Sequence[Stay], summary: Summary, *, running: bool, group_rows: int) -> Activity:
    """The account of a run's sessions.

    Args:
        stays: oldest first.
        summary: of the run.
        running: whether a process holds the run now; then the last stay has not ended, and is not killed.
        group_rows: rows that may be answered and not yet on disk (`checkpoint.interface`).
    """
    open_stays = [stay for stay in (stays[:-1] if running else stays) if not stay.ended]
    total, active_s = summary.total, summary.active_s
    return Activity(
        sessions=len(stays),
        killed=len(open_stays),
        running=running,
        active_s=active_s,
        rows_per_s=total.rows / active_s if active_s > 0 else None,
        tokens_per_s=total.tokens.total / active_s if active_s > 0 else None,
        repeated_at_most=sum(stay.in_flight + group_rows for stay in open_stays),
    )


def with_time_costs(summary: Summary, prices: Mapping[str, Sequence[Price]]) -> Summary:
    """The summary with what units billed by the hour came to.

    A model's units are taken to be kept for all the time that the run was active, whichever model was asked.

    Args:
        summary: of the run.
        prices: by model, in one currency each; a model without a row costs its time, too, but has no figures
            to stand with.
    """
    found = {model: _time_cost(price, summary.active_s) for model, price in prices.items()}
    costs = {model: cost for model, cost in found.items() if cost is not None}
    models = tuple(
        msgspec.structs.replace(figures, time_cost=(costs[figures.model],))
        if figures.model in costs
        else figures
        for figures in summary.models
    )
    by_currency: dict[str, TimeCost] = {}
    for cost in costs.values():
        before = by_currency.get(cost.currency, TimeCost(cost.currency, 0.0, 0.0))
        by_currency[cost.currency] = TimeCost(
            cost.currency, before.amount + cost.amount, before.unit_hours + cost.unit_hours
        )
    in_all = tuple(by_currency[currency] for currency in sorted(by_currency))
    return msgspec.structs.replace(
        summary, models=models, total=msgspec.structs.replace(summary.total, time_cost=in_all)
    )


def _time_cost(prices: Sequence[Price], active_s: float) -> TimeCost | None:
    found = [(price, cost) for price in prices if (cost := price.of_time(active_s)) is not None]
    if not found:
        return None
    units = sum(price.units for price, _ in found)
    amount = sum(cost for _, cost in found)
    return TimeCost(found[0][0].currency, amount, units * active_s / SECONDS_PER_HOUR)


def outcome(predictions: Sequence[Prediction], summary: Summary) -> Outcome | None:
    """What was planned beside what came.

    Args:
        predictions: of the run's sessions, oldest first.
        summary: of the run, time costs included.

    Returns:
        None where no plan was kept.
    """
    if not predictions:
        return None
    planned: dict[str, _Planned] = {}
    time_s = 0.0
    for prediction in predictions:
        plan = prediction.plan
        added = sum(planned.setdefault(m.name, _Planned()).add(m) for m in plan.models)
        if plan.calls:
            time_s += plan.time_s * added / plan.calls
    figures = {f.model: f for f in summary.models}
    models = tuple(_model(name, plan, figures.get(name)) for name, plan in planned.items())
    planned_tokens = sum(plan.prompt_tokens + plan.completion_tokens for plan in planned.values())
    actual_tokens = sum(f.tokens.prompt + f.tokens.completion for f in figures.values() if f.model in planned)
    first = predictions[0]
    return Outcome(
        planned_at=first.started_at,
        binding=first.plan.binding,
        models=models,
        total_tokens=deviation(round(planned_tokens), actual_tokens),
        time_s=deviation(time_s, summary.active_s),
    )


def deviation(planned: float | None, actual: float | None) -> Deviation:
    """A figure as planned and as it came, with how far it is off."""
    relative = None if planned is None or actual is None or not planned else actual / planned - 1
    return Deviation(planned, actual, relative)


class _Planned(Struct):
    """The sum of one model's plans over the sessions."""

    rows: int = 0
    covered: int = 0  # rows that some plan so far has done or left
    prompt_tokens: float = 0.0
    completion_tokens: float = 0.0
    cost: float | None = None
    time_cost: float | None = None
    currency: str | None = None

    def add(self, plan: ModelPlan) -> int:
        """Take a session's plan as far as it is about rows that no earlier one had; how many those are."""
        covered = min(plan.done + plan.left, plan.rows)  # failed rows asked again are both done and left
        # What was done before the first plan that is known was planned by nobody.
        new = min(plan.left, covered - self.covered if self.covered else plan.left)
        new = max(0, new)
        self.covered = max(self.covered, covered)
        self.rows += new
        share = new / plan.left if plan.left else 0.0
        self.prompt_tokens += plan.prompt_tokens * share
        self.completion_tokens += plan.completion_tokens * share
        if plan.cost is not None:
            self.cost = (self.cost or 0.0) + plan.cost * share
        if plan.time_cost is not None:
            self.time_cost = (self.time_cost or 0.0) + plan.time_cost * share
        self.currency = self.currency or plan.currency
        return new


def _model(name: str, planned: _Planned, figures: Figures | None) -> ModelOutcome:
    figures = figures or Figures(model=name)
    return ModelOutcome(
        model=name,
        rows=deviation(planned.rows, figures.rows),
        prompt_tokens=deviation(round(planned.prompt_tokens), figures.tokens.prompt),
        completion_tokens=deviation(round(planned.completion_tokens), figures.tokens.completion),
        cost=deviation(planned.cost, _amount(figures.cost, planned.currency)),
        time_cost=deviation(planned.time_cost, _amount(figures.time_cost, planned.currency)),
        currency=planned.currency,
    )


def _amount(costs: Sequence[Cost | TimeCost], currency: str | None) -> float | None:
    return next((cost.amount for cost in costs if cost.currency == currency), None)


__all__ = [
    "Activity",
    "Deviation",
    "ModelOutcome",
    "Outcome",
    "Stay",
    "Superseded",
    "activity",
    "deviation",
    "outcome",
    "with_time_costs",
]
