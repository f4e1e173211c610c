"""What must hold between several values of a job file.

The checks read the plain data, not the validated document, so that a wrong value in one place does not hide
what is wrong in another; a value of the wrong type is passed over, for the document says so.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from qfbatch.job.problems import Findings
from qfbatch.job.settings import LOCAL, ServiceSettings
from qfbatch.job.tree import Loc, to_data
from qfbatch.job.values import AUTHS
from qfbatch.pricing import Price
from qfbatch.service.dialect import Dialect
from qfbatch.service.dialects import dialect_named, is_dialect
from qfbatch.service.parameters import EXTRA, body_fields, check_parameters

_PRICES = ("prompt_per_1k", "completion_per_1k", "unit_hour")
_CURRENCY = Price().currency
_DEFAULT_API = ServiceSettings().api
_BEARER = ("auto", "bearer")
_PROMPT_WAYS = ("prompt", "template", "messages")


def check_together(findings: Findings) -> None:
    """Record what is wrong between several values."""
    data = to_data(findings.root)
    _check_columns(findings, data)
    _check_prompt(findings, data)
    _check_service(findings, data)
    _check_models(findings, data)
    _check_budget(findings, data)
    _check_parameters(findings, data)


def dialect_of(data: Any) -> Dialect:
    """The dialect that a job speaks; the default one where the job names none there is."""
    api = _mapping(data, "service").get("api")
    return dialect_named(api if is_dialect(api) else _DEFAULT_API)


def both_sampling_limits(data: Any) -> list[str]:
    """A warning for each model that ends up with both temperature and top_p."""
    return [
        f"{model['name']}: temperature and top_p are both set; the service advises to set only one of them"
        for _, model in _models(data)
        if {"temperature", "top_p"}
        <= body_fields(_mapping(data, "parameters"), _mapping(model, "parameters")).keys()
    ]


def unpriced_models(data: Any) -> list[str]:
    """A warning where a budget of cost cannot see what some models cost."""
    if _mapping(data, "budget").get("max_cost") is None:
        return []
    names = [str(model.get("name")) for _, model in _models(data) if not _mapping(model, "price")]
    if not names:
        return []
    return [f"budget.max_cost does not count {', '.join(names)}: no price is given"]


def _check_prompt(findings: Findings, data: Any) -> None:
    given = _mapping(data, "input")
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
    dialect = dialect_of(data)
    for key in ("messages", "system") if not dialect.takes_messages else ():
        if given.get(key) is not None:
            message = f"is for chats, but service.api is {dialect.name}"
            findings.add(("input", key), message, key=True)


def _check_columns(findings: Findings, data: Any) -> None:
    columns = _mapping(data, "input").get("columns")
    if isinstance(columns, list):
        for index, column in enumerate(columns):
            if isinstance(column, str) and column in columns[:index]:
                findings.add(("input", "columns", index), "this column is listed twice")


def _check_service(findings: Findings, data: Any) -> None:
    given = _mapping(data, "service")
    dialect = dialect_of(data)
    auths = dialect.access.auths
    auth = given.get("auth", auths[0])
    if isinstance(auth, str) and auth in AUTHS and auth not in auths:
        message = f"must be {', '.join(auths[:-1])} or {auths[-1]} for api {dialect.name}, not {auth}"
        findings.add(("service", "auth"), message)
    if given.get("key_env") is not None and auth not in _BEARER:
        findings.add(("service", "key_env"), f"names a bearer key, but service.auth is {auth}", key=True)
    if given.get("base_url") == LOCAL and dialect.access.local_path is None:
        message = f"the embedded server does not speak {dialect.name}; give the address of one that does"
        findings.add(("service", "base_url"), message)


def _check_models(findings: Findings, data: Any) -> None:
    first: dict[str, int] = {}
    dialect = dialect_of(data)
    for index, model in _models(data):
        name = model.get("name")
        if isinstance(name, str) and first.setdefault(name, index) != index:
            message = f"models[{first[name]}] has the same name; results are told apart by it"
            findings.add(("models", index, "name"), message)
        endpoint = model.get("endpoint")
        refused = dialect.refuse_endpoint(endpoint) if isinstance(endpoint, str) else None
        if refused is not None:
            findings.add(("models", index, "endpoint"), refused)
        price = model.get("price")
        if isinstance(price, dict):
            _check_price(findings, ("models", index, "price"), price)


def _check_price(findings: Findings, loc: Loc, price: dict[str, Any]) -> None:
    if all(price.get(key) is None for key in _PRICES):
        findings.add(loc, f"needs at least one of {', '.join(_PRICES)}", key=True)
    elif "units" in price and price.get("unit_hour") is None:
        findings.add((*loc, "units"), "means nothing without unit_hour", key=True)


def _check_budget(findings: Findings, data: Any) -> None:
    if _mapping(data, "budget").get("max_cost") is None:
        return
    loc = ("budget", "max_cost")
    priced = [_mapping(model, "price") for _, model in _models(data) if _mapping(model, "price")]
    currencies = {str(price.get("currency", _CURRENCY)) for price in priced}
    if not currencies:
        findings.add(loc, "no model has a price, so no cost is known; give models[].price", key=True)
    elif len(currencies) > 1:
        message = f"needs one currency, but the models have prices in {', '.join(sorted(currencies))}"
        findings.add(loc, message, key=True)


def _check_parameters(findings: Findings, data: Any) -> None:
    rules = dialect_of(data).rules
    sections: list[tuple[Loc, Any]] = [(("parameters",), data)]
    sections += [(("models", index, "parameters"), model) for index, model in _models(data)]
    for loc, owner in sections:
        for problem in check_parameters(rules, _mapping(owner, "parameters")):
            under_extra = problem.field.removeprefix(f"{EXTRA}.")
            field = (EXTRA, under_extra) if under_extra != problem.field else (problem.field,)
            # A name the table does not know is wrong where it stands, not in its value.
            unknown = problem.field not in rules and problem.field != EXTRA
            findings.add((*loc, *field), problem.message, key=unknown)


def _mapping(owner: Any, key: str) -> dict[str, Any]:
    value = owner.get(key) if isinstance(owner, dict) else None
    return value if isinstance(value, dict) else {}


def _models(data: Any) -> Iterator[tuple[int, dict[str, Any]]]:
    models = data.get("models") if isinstance(data, dict) else None
    for index, model in enumerate(models if isinstance(models, list) else []):
        if isinstance(model, dict):
            yield index, model
