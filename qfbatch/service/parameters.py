"""Request parameters: which body fields a dialect knows beside the prompt, and what each may hold.

The rules are a table of values, so that the job file, a row's own `parameters` column and the JSON Schema all
read the same one. Checking is cheap: it runs once per row.

A parameter that is null is not given: it says nothing and overrides nothing (a Parquet struct has every field
in every row). `extra` holds additional body fields, sent as they are; one that the dialect knows is checked
as if it stood beside `extra`, so that a job can ask for it in two dialects of which only one documents it.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec

EXTRA = "extra"
_encode = msgspec.json.Encoder(order="sorted").encode
_MAX_SHOWN = 20  # longer text is described, not repeated: it could be a key in the wrong place
_MAX_BITS_SHOWN = 60
_MIN_INTEGER, _MAX_INTEGER = -(2**63), 2**63 - 1  # what JSON encoders and services agree on


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with one parameter.

    Attributes:
        field: the parameter's name; `extra.<name>` for a field under `extra`.
        message: what it must be, as the end of a sentence that starts with the field.
    """

    field: str
    message: str


class Rule(Protocol):
    """What one parameter may hold."""

    @property
    def meaning(self) -> str:
        """One line for people: schema, editors, reference."""

    def refuse(self, value: Any) -> str | None:
        """Why `value` is refused; None where it is fine."""

    def schema(self) -> dict[str, Any]:
        """The rule as JSON Schema, without the meaning."""


Rules = Mapping[str, Rule]


def shown(value: Any) -> str:
    """A refused value for a message: short, quoted where it is text, never long enough to be a key."""
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    if isinstance(value, str):
        return _shown_text(value)
    if isinstance(value, int | float):
        huge = isinstance(value, int) and value.bit_length() > _MAX_BITS_SHOWN
        return "a number of more than 18 digits" if huge else str(value)
    if isinstance(value, Mapping):
        return "a mapping"
    return "a list" if isinstance(value, list | tuple) else f"a {type(value).__name__}"


def _shown_text(text: str) -> str:
    if len(text) > _MAX_SHOWN:
        return f"text of {len(text)} characters"
    return f'"{text}"' if text.isprintable() else f'"{text.encode("unicode_escape").decode()}"'


@dataclass(frozen=True, slots=True)
class NumberRule:
    """A finite number in a range, both ends included unless `above` says otherwise."""

    meaning: str
    low: float
    high: float
    above: bool = False  # the lower end itself is not allowed

    def refuse(self, value: Any) -> str | None:
        """Why `value` is refused; None where it is fine."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            return f"must be a number {self._range()}, not {shown(value)}"
        # The first test also catches NaN, which compares false with everything.
        if not value <= self.high or value < self.low or (self.above and value == self.low):
            return f"must be {self._range()}, not {shown(value)}"
        return None

    def schema(self) -> dict[str, Any]:
        """The rule as JSON Schema, without the meaning."""
        return {
            "type": "number",
            ("exclusiveMinimum" if self.above else "minimum"): self.low,
            "maximum": self.high,
        }

    def _range(self) -> str:
        return f"{'above' if self.above else 'at least'} {self.low:g} and at most {self.high:g}"


@dataclass(frozen=True, slots=True)
class CountRule:
    """A whole number in a range, both ends included."""

    meaning: str
    low: int = 1
    high: int = _MAX_INTEGER

    def refuse(self, value: Any) -> str | None:
        """Why `value` is refused; None where it is fine."""
        if isinstance(value, bool) or not isinstance(value, int) or not self.low <= value <= self.high:
            return f"must be a whole number{self._range()}, not {shown(value)}"
        return None

    def schema(self) -> dict[str, Any]:
        """The rule as JSON Schema, without the meaning."""
        bounds = {"minimum": self.low} if self.low > _MIN_INTEGER else {}
        return {"type": "integer", **bounds, **({"maximum": self.high} if self.high < _MAX_INTEGER else {})}

    def _range(self) -> str:
        low = f" of at least {self.low}" if self.low > _MIN_INTEGER else " of at most 18 digits"
        return f"{low} and at most {self.high}" if self.high < _MAX_INTEGER else low


@dataclass(frozen=True, slots=True)
class RefusedRule:
    """A body field that no job may set, under `extra` neither: qfbatch sets it, or could not keep the answer.

    Attributes:
        meaning: why, as the end of a sentence that starts with the field.
    """

    meaning: str

    def refuse(self, value: Any) -> str | None:
        """Why `value` is refused: always, and always for the same reason."""
        del value
        return self.meaning

    def schema(self) -> dict[str, Any]:
        """The rule as JSON Schema: nothing fits."""
        return {"not": {}}


@dataclass(frozen=True, slots=True)
class TextRule:
    """Any text."""

    meaning: str

    def refuse(self, value: Any) -> str | None:
        """Why `value` is refused; None where it is fine."""
        return None if isinstance(value, str) else f"must be text, not {shown(value)}"

    def schema(self) -> dict[str, Any]:
        """The rule as JSON Schema, without the meaning."""
        return {"type": "string"}


@dataclass(frozen=True, slots=True)
class FlagRule:
    """True or false."""

    meaning: str

    def refuse(self, value: Any) -> str | None:
        """Why `value` is refused; None where it is fine."""
        return None if isinstance(value, bool) else f"must be true or false, not {shown(value)}"

    def schema(self) -> dict[str, Any]:
        """The rule as JSON Schema, without the meaning."""
        return {"type": "boolean"}


@dataclass(frozen=True, slots=True)
class TextListRule:
    """A short list of short texts."""

    meaning: str
    max_items: int
    max_characters: int

    def refuse(self, value: Any) -> str | None:
        """Why `value` is refused; None where it is fine."""
        if not isinstance(value, list | tuple):
            return f"must be a list of texts, not {shown(value)}"
        if len(value) > self.max_items:
            return f"must have at most {self.max_items} texts, not {len(value)}"
        for number, text in enumerate(value, start=1):
            if not isinstance(text, str):
                return f"text {number} of the list must be text, not {shown(text)}"
            if not text:
                return f"text {number} of the list is empty"
            if len(text) > self.max_characters:
                return (
                    f"text {number} of the list must have at most {self.max_characters} characters, "
                    f"not {len(text)}"
                )
        return None

    def schema(self) -> dict[str, Any]:
        """The rule as JSON Schema, without the meaning."""
        text = {"type": "string", "minLength": 1, "maxLength": self.max_characters}
        return {"type": "array", "maxItems": self.max_items, "items": text}


def settable(rules: Rules) -> dict[str, Rule]:
    """The parameters that a job may set, with their rules."""
    return {name: rule for name, rule in rules.items() if not isinstance(rule, RefusedRule)}


def check_parameters(rules: Rules, parameters: Mapping[str, Any]) -> list[Problem]:
    """Everything that is wrong with `parameters`, in their order; empty where nothing is.

    Args:
        rules: the dialect's table.
        parameters: as given in the job file or a row; `extra` may hold a mapping of further body fields.
    """
    problems = []
    for name, value in parameters.items():
        if value is None:
            continue
        rule = rules.get(name)
        if rule is not None:
            message = rule.refuse(value)
            if message is not None:
                problems.append(Problem(name, message))
        elif name == EXTRA:
            problems.extend(_check_extra(rules, value, parameters))
        else:
            problems.append(Problem(name, _unknown(rules, name)))
    return problems


def body_fields(*layers: Mapping[str, Any]) -> dict[str, Any]:
    """Body fields to send beside the prompt: each layer overrides those before it.

    Args:
        layers: checked parameters, the most general first; nulls give nothing, `extra` is merged in.
    """
    fields: dict[str, Any] = {}
    for layer in layers:
        for name, value in layer.items():
            if value is None:
                continue
            if name == EXTRA:
                fields.update(value)
            else:
                fields[name] = value
    return fields


def as_sent(parameters: Mapping[str, Any]) -> str:
    """Body fields as JSON with sorted names: how results keep them, and how two requests are compared."""
    return _encode(parameters).decode()


def _check_extra(rules: Rules, extra: Any, beside: Mapping[str, Any]) -> list[Problem]:
    if not isinstance(extra, Mapping):
        return [Problem(EXTRA, f"must be a mapping of additional body fields, not {shown(extra)}")]
    problems = []
    for name, value in extra.items():
        if name == "prompt":
            problems.append(Problem(f"{EXTRA}.{name}", "the prompt comes from the input, not from here"))
        elif beside.get(name) is not None:
            problems.append(Problem(f"{EXTRA}.{name}", f"is given beside {EXTRA}, too: give it once"))
        elif value is not None and (rule := rules.get(name)) is not None:
            if (message := rule.refuse(value)) is not None:
                problems.append(Problem(f"{EXTRA}.{name}", message))
        elif (reason := _not_json(value)) is not None:
            problems.append(Problem(f"{EXTRA}.{name}", f"cannot be sent as JSON: {reason}"))
    return problems


def _not_json(value: Any) -> str | None:
    """What in `value`, at any depth, JSON has no place for; None where all of it can be sent."""
    rest = [value]
    while rest:
        part = rest.pop()
        if isinstance(part, Mapping):
            if not all(isinstance(key, str) for key in part):
                return "a key that is not text"
            rest.extend(part.values())
        elif isinstance(part, list | tuple):
            rest.extend(part)
        elif isinstance(part, float) and not math.isfinite(part):
            return str(part)
        elif (isinstance(part, int) and not _MIN_INTEGER <= part <= _MAX_INTEGER) or not isinstance(
            part, str | int | float | None
        ):
            return shown(part)
    return None


def _unknown(rules: Rules, name: str) -> str:
    if name == "prompt":
        return "the prompt comes from the input, not from here"
    nearest = difflib.get_close_matches(str(name), [*settable(rules), EXTRA], n=1)
    if nearest:
        return f'is not a parameter of this service; did you mean "{nearest[0]}"?'
    return f"is not a parameter of this service; an additional body field goes under {EXTRA}"
