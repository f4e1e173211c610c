"""From a row's columns to the prompt: one column as it is, or a template over several.

A template is text with `{column}` fields; `{{` and `}}` are literal braces. What stands between the braces is
a column's name, whole and literal: there is no attribute access, no indexing, no format specification, and
nothing is ever evaluated.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

_TOKEN = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
_SHOWN = 8  # column names listed where none is close
_NAME_LENGTH = 60  # of a name in a message; an input may hold anything as a name


class TemplateError(ValueError):
    """A template that cannot be read, or a row whose prompt cannot be made; the message is one sentence."""


class PromptColumn:
    """A column whose text is the prompt, sent as it is.

    Args:
        column: its name.
    """

    messages = False

    def __init__(self, column: str) -> None:
        self.fields = (column,)
        self._column = column

    def render(self, columns: Mapping[str, Any]) -> str:
        """See `prompts.Prompter.render`; the column must hold a string that is not blank."""
        value = columns.get(self._column)
        if type(value) is not str:
            if self._column not in columns:
                raise TemplateError(missing_column(self._column, columns))
            raise TemplateError(f"column {quoted(self._column)} must hold text, not {kind_of(value)}")
        if not value.strip():
            raise TemplateError("the prompt is empty")
        return value

    def render_all(self, rows: Sequence[Mapping[str, Any]]) -> list[str]:
        """See `prompts.Prompter.render_all`."""
        values: list[Any] = [columns.get(self._column) for columns in rows]
        if set(map(type, values)) <= {str} and all(map(str.strip, values)):
            return values
        return list(map(self.render, rows))


class Template:
    """A text with `{column}` fields.

    Strings go in as they are, numbers and booleans as JSON text, lists and objects as compact JSON text.

    Args:
        text: the template.

    Raises:
        TemplateError: a brace without its partner, or a field without a name.
    """

    messages = False

    def __init__(self, text: str) -> None:
        literals, slots = _parse(text)
        self.fields = tuple(dict.fromkeys(slots))
        self._slots = tuple(slots)
        self._format = "%s".join(literal.replace("%", "%%") for literal in literals)

    def render(self, columns: Mapping[str, Any]) -> str:
        """See `prompts.Prompter.render`; no column of the template may be null."""
        try:
            values = [columns[name] for name in self._slots]
        except KeyError as error:
            raise TemplateError(missing_column(error.args[0], columns)) from None
        for index, value in enumerate(values):
            if type(value) is not str:
                values[index] = _text(self._slots[index], value)
        prompt = self._format % tuple(values)
        if not prompt.strip():
            raise TemplateError("the prompt is empty")
        return prompt

    def render_all(self, rows: Sequence[Mapping[str, Any]]) -> list[str]:
        """See `prompts.Prompter.render_all`."""
        return list(map(self.render, rows))


def missing_column(name: str, columns: Iterable[str]) -> str:
    """Says that a column is missing and which one may be meant."""
    names = list(columns)
    close = difflib.get_close_matches(name, names, n=1)
    if close:
        return f"column {quoted(name)} is missing; did you mean {quoted(close[0])}?"
    if not names:
        return f"column {quoted(name)} is missing; there are no columns"
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"column {quoted(name)} is missing; there are {', '.join(map(quoted, names[:_SHOWN]))}{more}"


def quoted(name: str) -> str:
    """A name from the input for a message: in quotes, without control characters, not longer than a line."""
    return repr(name if len(name) <= _NAME_LENGTH else name[: _NAME_LENGTH - 1] + "…")


def kind_of(value: Any) -> str:
    """What a JSON value is, in the words of messages."""
    if value is None:
        return "null"
    kinds = {
        str: "text",
        bool: "a boolean",
        int: "a number",
        float: "a number",
        list: "a list",
        dict: "an object",
    }
    return kinds.get(type(value), type(value).__name__)


def _parse(text: str) -> tuple[list[str], list[str]]:
    """Splits a template into its literal texts and the fields between them (one literal more than fields)."""
    literals: list[str] = [""]
    fields: list[str] = []
    end = 0
    for token in _TOKEN.finditer(text):
        literals[-1] += text[end : token.start()]
        end = token.end()
        match token.group():
            case "{{" | "}}" as doubled:
                literals[-1] += doubled[0]
            case "{" | "}" as brace:
                raise TemplateError(
                    f"template: {brace!r} at character {token.start() + 1} has no partner; "
                    f"write {brace * 2!r} for a literal brace"
                )
            case "{}":
                raise TemplateError(
                    f"template: the field at character {token.start() + 1} has no name; "
                    "write '{column}', or '{{}}' for literal braces"
                )
            case _:
                fields.append(token.group(1))
                literals.append("")
    literals[-1] += text[end:]
    return literals, fields


def _text(name: str, value: Any) -> str:
    if isinstance(value, str):
        return value
    if value is None:
        raise TemplateError(f"column {quoted(name)} is null, and the template needs it")
    return msgspec.json.encode(value).decode()
