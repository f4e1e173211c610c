"""A plan as text for people: a few lines and one table, readable at 80 columns and without colour."""

from __future__ import annotations

from qfbatch.plans import ModelPlan, Plan
from qfbatch.render import numbers


def render(plan: Plan) -> str:
    """The plan, ending in a newline."""
    size = f"{numbers.things(plan.rows, 'row')} in {numbers.things(plan.files, 'file')}"
    parts = f"{numbers.things(plan.shards, 'shard')}, {numbers.things(len(plan.models), 'model')}"
    lines = [
        f"{plan.name}: {size}, {parts}",
        f"run directory: {plan.directory}: {plan.stands}",
        "",
    ]
    for model in plan.models:
        lines += _model(model)
    calls = sum(model.left for model in plan.models)
    if calls == 0:
        lines.append("nothing is left to do")
    else:
        lines.append(
            f"{numbers.count(calls)} calls, about {numbers.duration(plan.time_s)}, bound by {plan.binding}"
        )
    return "\n".join(lines) + "\n"


def _model(model: ModelPlan) -> list[str]:
    tokens = model.prompt_tokens + model.completion_tokens
    cost = "no price" if model.cost is None else f"{numbers.amount(model.cost)} {model.currency}"
    failed = f" ({numbers.count(model.failed)} of them failed)" if model.failed else ""
    expected = (
        f"{numbers.count(tokens)} expected: {numbers.count(model.prompt_tokens)} prompt, "
        f"{numbers.count(model.completion_tokens)} completion ({model.basis})"
    )
    return [
        f"{model.name} (endpoint {model.endpoint})",
        f"  rows        {numbers.count(model.done)} done{failed}, {numbers.count(model.left)} left",
        f"  tokens      {expected}",
        f"  cost        {cost}",
        f"  latency     {numbers.seconds(model.latency_s)} a call ({model.basis})",
        "",
    ]
