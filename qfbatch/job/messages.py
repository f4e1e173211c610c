"""pydantic's errors in the words of the job file, with the nearest key where one is unknown."""

from __future__ import annotations

from difflib import get_close_matches

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from qfbatch.job.document import SECTIONS
from qfbatch.job.problems import Findings
from qfbatch.job.secrets import quoted_key
from qfbatch.job.tree import Loc, Scalar, find, spelled, to_data
from qfbatch.service.dialects import DIALECTS
from qfbatch.service.parameters import EXTRA, settable, shown

_TYPES = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing_size": "a whole number of less than 19 digits",
    "float_type": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "list_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
}
_RANGES = {
    "greater_than": ("above", "gt"),
    "greater_than_equal": ("at least", "ge"),
    "less_than": ("below", "lt"),
    "less_than_equal": ("at most", "le"),
}
_PARAMETERS = tuple(
    dict.fromkeys([*(name for dialect in DIALECTS.values() for name in settable(dialect.rules)), EXTRA])
)


def take_errors(findings: Findings, error: ValidationError) -> None:
    """Record every error of a validation, each at its line."""
    for details in error.errors(include_url=False, include_input=False):
        loc: Loc = tuple(details["loc"])
        if loc and isinstance(find(findings.root, loc[:-1]), Scalar):
            loc = loc[:-1]  # a single value that is read as a list of one
        if details["type"] == "extra_forbidden":
            message = _unknown_key(loc)
            prefix = f"{spelled(loc[:-1])}: " if loc[1:] else ""
            findings.add(loc, prefix + message, key=True, named=False)
        else:
            findings.add(loc, _message(details, findings, loc))


def wants_text(error: ValidationError) -> list[Loc]:
    """Where text is asked for and something else stands."""
    return [tuple(details["loc"]) for details in error.errors() if details["type"] == "string_type"]


def _message(details: ErrorDetails, findings: Findings, loc: Loc) -> str:
    kind, context = details["type"], details.get("ctx", {})
    value = _value(findings, loc)
    if kind == "missing":
        return "is required"
    if kind == "value_error":
        return str(context["error"])
    if kind in {"too_short", "string_too_short"}:
        return "must not be empty"
    if kind in _RANGES:
        word, bound = _RANGES[kind]
        return f"must be {word} {context[bound]:g}, not {value}"
    if kind in _TYPES:
        node = find(findings.root, loc)
        quotes = kind == "string_type" and isinstance(node, Scalar) and node.value is not None
        return f"must be {_TYPES[kind]}, not {value}{'; put it in quotes' if quotes else ''}"
    return f"is not valid: {details['msg']}"


def _value(findings: Findings, loc: Loc) -> str:
    node = find(findings.root, loc)
    return "this" if node is None else shown(to_data(node))


def _unknown_key(loc: Loc) -> str:
    key = str(loc[-1])
    text = f"unknown key {quoted_key(key)}"
    here = _section_of(loc)
    known = list(SECTIONS[here].model_fields)
    elsewhere = [name for name in _homes(key) if name != ".".join(here)]
    if elsewhere:
        return f"{text}; it belongs under {' or '.join(elsewhere)}"
    nearest = get_close_matches(key, known, n=1)
    if nearest:
        return f'{text}; did you mean "{nearest[0]}"?'
    names = {name: section for section, names in _all_keys().items() for name in names}
    distant = get_close_matches(key, names, n=1, cutoff=0.75)
    if distant:
        return f'{text}; did you mean "{distant[0]}", under {names[distant[0]]}?'
    return f"{text}; the keys here are {', '.join(known)}"


def _section_of(loc: Loc) -> tuple[str, ...]:
    """The section a key stands in, as `SECTIONS` names it: without list positions and names of quotas."""
    steps = tuple(step for step in loc[:-1] if isinstance(step, str))
    return steps[:1] if steps[:1] == ("quotas",) else steps


def _all_keys() -> dict[str, list[str]]:
    """Section as messages spell it → its keys; the top is left out."""
    keys: dict[str, list[str]] = {"parameters": list(_PARAMETERS)}
    for section, model in SECTIONS.items():
        if section:
            keys[".".join(section)] = list(model.model_fields)
    return keys


def _homes(key: str) -> list[str]:
    """Sections that know `key`, the widest ones: limits and a service may stand in several places."""
    homes = [section for section, names in _all_keys().items() if key in names]
    narrower = {"models.limits", "models.service", "models.endpoints.limits", "models.endpoints.service"}
    widest = [home for home in homes if home not in {*narrower, "models.endpoints", "quotas"}]
    return widest or [home for home in homes if home not in narrower]
