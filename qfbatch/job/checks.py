"""What must hold between several values of a job file.

The checks read the plain data, not the validated document, so that a wrong value in one place does not hide
what is wrong in another; a value of the wrong type is passed over, for the document says so.
"""

from __future__ import annotations

from typing import Any

from qfbatch.job.endpoint_checks import check_endpoints
from qfbatch.job.evaluation import check_evaluation
from qfbatch.job.problems import Findings
from qfbatch.job.services import StatedService, job_service, places
from qfbatch.job.tree import Loc, mapping, mappings, spelled, to_data
from qfbatch.pricing import Price
from qfbatch.service.dialect import Dialect
from qfbatch.service.parameters import EXTRA, body_fields, check_parameters

_PRICES = ("prompt_per_1k", "completion_per_1k", "unit_hour")
_CURRENCY = Price().currency
_PROMPT_WAYS = ("prompt", "template", "messages")


def check_together(findings: Findings) -> None:
    """Record what is wrong between several values."""
    data = to_data(findings.root)
    _check_columns(findings, data)
    _check_prompt(findings, data)
    _check_models(findings, data)
    check_endpoints(findings, data)
    _check_budget(findings, data)
    _check_parameters(findings, data)
    check_evaluation(findings, data)


def both_sampling_limits(data: Any) -> list[str]:
    """A warning for each model that ends up with both temperature and top_p."""
    return [
        f"{model['name']}: temperature and top_p are both set; the service advises to set only one of them"
        for _, model in mappings(data, "models")
        if {"temperature", "top_p"}
        <= body_fields(mapping(data, "parameters"), mapping(model, "parameters")).keys()
    ]


def unpriced_models(data: Any) -> list[str]:
    """A warning where a budget of cost cannot see what some models cost."""
    if mapping(data, "budget").get("max_cost") is None:
        return []
    names = [str(model.get("name")) for _, model in mappings(data, "models") if not mapping(model, "price")]
    if not names:
        return []
    return [f"budget.max_cost does not count {', '.join(names)}: no price is given"]


def _check_prompt(findings: Findings, data: Any) -> None:
    given = mapping(data, "input")
    if not given:
        return
    ways = [key for key in _PROMPT_WAYS if given.get(key) is not None]
    if len(ways) > 1:
        first, second = ways[0], ways[1]
        message = f"give either input.{first} or input.{second}, not both"
        findings.add(("input", second), message, key=True)
    elif not ways:
        message = "needs the column that holds the prompt (prompt) or a template over columns (template)"
        findings.add(("input",), message, key=True)
    if ways == ["messages"] and given.get("system") is not None:
        message = "means nothing beside input.messages, which hold their own system message"
        findings.add(("input", "system"), message, key=True)
    for service in _services(data):
        for key in ("messages", "system") if not service.dialect.takes_messages else ():
            if given.get(key) is not None:
                message = f"is for chats, but {_api_named(service)} is {service.dialect.name}"
                findings.add(("input", key), message, key=True)


def _check_columns(findings: Findings, data: Any) -> None:
    columns = mapping(data, "input").get("columns")
    if isinstance(columns, list):
        for index, column in enumerate(columns):
            if isinstance(column, str) and column in columns[:index]:
                findings.add(("input", "columns", index), "this column is listed twice")


def _check_models(findings: Findings, data: Any) -> None:
    first: dict[str, int] = {}
    for index, model in mappings(data, "models"):
        name = model.get("name")
        if isinstance(name, str) and first.setdefault(name, index) != index:
            message = f"models[{first[name]}] has the same name; results are told apart by it"
            findings.add(("models", index, "name"), message)
        prices = _prices_of(index, model)
        for loc, price in prices:
            _check_price(findings, loc, price)
            if price.get("currency", _CURRENCY) != prices[0][1].get("currency", _CURRENCY):
                message = "is not that of the model's other prices; a model has one currency"
                findings.add((*loc, "currency"), message)


def _prices_of(index: int, model: dict[str, Any]) -> list[tuple[Loc, dict[str, Any]]]:
    """The prices that a model and its endpoints state, each with its place."""
    owners: list[tuple[Loc, dict[str, Any]]] = [(("models", index), model)]
    owners += [(("models", index, "endpoints", place), end) for place, end in mappings(model, "endpoints")]
    return [
        ((*loc, "price"), price) for loc, owner in owners if isinstance(price := owner.get("price"), dict)
    ]


def _check_price(findings: Findings, loc: Loc, price: dict[str, Any]) -> None:
    if all(price.get(key) is None for key in _PRICES):
        findings.add(loc, f"needs at least one of {', '.join(_PRICES)}", key=True)
    elif "units" in price and price.get("unit_hour") is None:
        findings.add((*loc, "units"), "means nothing without unit_hour", key=True)


def _check_budget(findings: Findings, data: Any) -> None:
    if mapping(data, "budget").get("max_cost") is None:
        return
    loc = ("budget", "max_cost")
    priced = [price for index, model in mappings(data, "models") for _, price in _prices_of(index, model)]
    currencies = {str(price.get("currency", _CURRENCY)) for price in priced}
    if not currencies:
        findings.add(loc, "no model has a price, so no cost is known; give models[].price", key=True)
    elif len(currencies) > 1:
        message = f"needs one currency, but the models have prices in {', '.join(sorted(currencies))}"
        findings.add(loc, message, key=True)


def _check_parameters(findings: Findings, data: Any) -> None:
    # What is for all models must hold in all of their dialects.
    sections: list[tuple[Loc, Any, Dialect]] = [
        (("parameters",), data, dialect)
        for dialect in {service.dialect.name: service.dialect for service in _services(data)}.values()
    ]
    models = dict(mappings(data, "models"))
    sections += [
        (("models", place.model, "parameters"), models[place.model], place.service.dialect)
        for place in places(data)
    ]
    for loc, owner, dialect in sections:
        for problem in check_parameters(dialect.rules, mapping(owner, "parameters")):
            under_extra = problem.field.removeprefix(f"{EXTRA}.")
            field = (EXTRA, under_extra) if under_extra != problem.field else (problem.field,)
            # A name the table does not know is wrong where it stands, not in its value.
            unknown = problem.field not in dialect.rules and problem.field != EXTRA
            findings.add((*loc, *field), problem.message, key=unknown)


def _services(data: Any) -> list[StatedService]:
    """The services that models are asked at; the job's own where it has no models yet."""
    return [place.service for place in places(data)] or [job_service(data)]


def _api_named(service: StatedService) -> str:
    return spelled(service.locs["api"]) if "api" in service.locs else "service.api"
