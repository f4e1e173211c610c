"""A plan as a chapter of tables, the answer first, for the terminal and for Markdown."""

from __future__ import annotations

from collections.abc import Callable

from qfbatch.planning.plans import BudgetPlan, ModelPlan, Plan
from qfbatch.render import numbers
from qfbatch.render.layout import Block, Chapter, Column


def chapter(plan: Plan) -> Chapter:
    """The plan: in sentences, by model, by limit, and where its figures come from."""
    blocks = [_models(plan)]
    if plan.calls:
        blocks += [_limits(plan), _sources(plan)]
    if plan.budget:
        blocks.append(_budget(plan))
    fits = all(budget.fits for budget in plan.budget)
    return Chapter(
        title=f"{numbers.one_line(plan.name)} ({numbers.one_line(plan.directory)})",
        state=_state(plan),
        settled=fits and plan.stands in {"new", "resumes"},
        blocks=tuple(blocks),
    )


def _state(plan: Plan) -> str:
    size = f"{numbers.things(plan.rows, 'row')} in {numbers.things(plan.files, 'file')}"
    parts = f"{numbers.things(plan.shards, 'shard')}, {numbers.things(len(plan.models), 'model')}"
    told = f"{plan.stands[0].upper()}{plan.stands[1:]}. {size}, {parts}."
    if not plan.calls:
        failed = sum(model.failed for model in plan.models)
        again = f" {numbers.things(failed, 'row')} failed; --retry-failed asks them again." if failed else ""
        return f"{told} Nothing is left to do.{again}"
    costs = "".join(f", {numbers.amount(cost)} {currency}" for currency, cost in plan.costs.items())
    work = f"{numbers.things(plan.calls, 'call')}, {numbers.things(plan.tokens, 'token')}{costs}"
    notes = "".join(f" {numbers.one_line(note)}." for note in plan.notes)
    return f"{told} Left: {work}, {_time(plan)}, bound by {plan.binding}.{notes}"


def _time(plan: Plan) -> str:
    if plan.time_range_s is None:
        return f"about {numbers.duration(plan.time_s)}"
    shortest, longest = map(numbers.duration, plan.time_range_s)
    if shortest == longest:  # a rate decides, whatever a call takes
        return f"about {shortest}"
    return f"{shortest} to {longest}"


_LINES: tuple[tuple[str, Callable[[ModelPlan], str]], ...] = (
    ("endpoint", lambda m: numbers.one_line(m.endpoint)),
    ("rows done", lambda m: numbers.count(m.done)),
    ("  of them failed", lambda m: numbers.count(m.failed) if m.failed else numbers.MISSING),
    ("rows left", lambda m: numbers.count(m.left)),
    ("prompt tokens", lambda m: numbers.count(m.prompt_tokens)),
    ("completion tokens", lambda m: numbers.count(m.completion_tokens)),
    ("cost of tokens", lambda m: _money(m.cost, m.currency)),
    ("cost of compute units", lambda m: _money(m.time_cost, m.currency)),
    ("latency of a call", lambda m: numbers.seconds(m.latency_s)),
    ("done after", lambda m: numbers.duration(m.time_s) if m.left else numbers.MISSING),
)


def _money(amount: float | None, currency: str | None) -> str:
    return numbers.MISSING if amount is None else f"{numbers.amount(amount)} {currency}"


def _models(plan: Plan) -> Block:
    cells = [(label, *(text(model) for model in plan.models)) for label, text in _LINES]
    return Block(
        title="",
        columns=(Column(""), *(Column(numbers.one_line(m.name), number=True) for m in plan.models)),
        rows=tuple(row for row in cells if any(cell != numbers.MISSING for cell in row[1:])),
        divisible=True,
    )


def _limits(plan: Plan) -> Block:
    return Block(
        title="Limits, and how long each would take alone",
        columns=(Column("limit"), Column("time", number=True)),
        rows=tuple((numbers.one_line(x.text), numbers.duration(x.time_s)) for x in plan.limits),
    )


def _sources(plan: Plan) -> Block:
    rows = [
        (numbers.one_line(model.name), figure, numbers.one_line(basis))
        for model in plan.models
        if model.left
        for figure, basis in (
            ("prompt tokens", model.prompt_basis),
            ("completion tokens", model.completion_basis),
            ("latency", model.latency_basis),
        )
    ]
    return Block(
        title="Where the figures come from",
        columns=(Column("model"), Column("figure"), Column("source")),
        rows=tuple(rows),
    )


def _budget(plan: Plan) -> Block:
    return Block(
        title="Budget",
        columns=(
            Column("limit"),
            Column("allowed", number=True),
            Column("spent", number=True),
            Column("expected", number=True),
            Column(""),
        ),
        rows=tuple(
            (
                budget.limit,
                *(_of_budget(budget, value) for value in (budget.allowed, budget.spent, budget.expected)),
                "fits" if budget.fits else "the run will stop there",
            )
            for budget in plan.budget
        ),
    )


def _of_budget(budget: BudgetPlan, value: float) -> str:
    return numbers.amount(value) if budget.limit == "max_cost" else numbers.count(round(value))
