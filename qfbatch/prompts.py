"""What a row is asked: a text, or a list of messages where the dialect is a chat.

A list of messages travels as its JSON text: that is what results hold as `prompt`, what a resume compares,
and what goes into the request unchanged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import msgspec

from qfbatch.template import PromptColumn, Template, TemplateError, kind_of, missing_column, quoted

_encode = msgspec.json.Encoder().encode


class Prompter(Protocol):
    """Makes a row's prompt."""

    @property
    def fields(self) -> tuple[str, ...]:
        """Names of the columns it reads, each once, in order of first use."""

    @property
    def messages(self) -> bool:
        """Whether its prompts are the JSON text of a list of messages."""

    def render(self, columns: Mapping[str, Any]) -> str:
        """The prompt of a row with these columns.

        Raises:
            TemplateError: a column is missing, null or of the wrong kind, or the prompt would be empty.
        """

    def render_all(self, rows: Sequence[Mapping[str, Any]]) -> list[str]:
        """`render` of each of these rows, perhaps sooner than one by one.

        Raises:
            TemplateError: as there, for any of them.
        """


class PromptChoice(Protocol):
    """How a job names its prompt (`job.settings.InputSettings`); one of the first three is not None."""

    @property
    def prompt(self) -> str | None:
        """Column that holds the prompt."""

    @property
    def template(self) -> str | None:
        """Template over the row's columns."""

    @property
    def messages(self) -> str | None:
        """Column that holds a list of messages."""

    @property
    def system(self) -> str | None:
        """Template of a system message before the prompt; None for none."""


def prompter(choice: PromptChoice) -> Prompter:
    """The one way from a job's input settings to prompts.

    Raises:
        TemplateError: a template cannot be read.
        ValueError: not exactly one of `prompt`, `template` and `messages` is set, or `system` with messages.
    """
    match choice.prompt, choice.template, choice.messages:
        case None, None, str(column) if choice.system is None:
            return MessagesColumn(column)
        case None, str(text), None:
            question: PromptColumn | Template = Template(text)
        case str(column), None, None:
            question = PromptColumn(column)
        case _:
            raise ValueError("exactly one of `prompt`, `template` and `messages` must be set")
    return question if choice.system is None else Conversation(Template(choice.system), question)


class Conversation:
    """A system message, then the prompt as a message of the user.

    Args:
        system: makes the first.
        question: makes the second.
    """

    messages = True

    def __init__(self, system: Template, question: PromptColumn | Template) -> None:
        self.fields = tuple(dict.fromkeys((*system.fields, *question.fields)))
        self._system = system
        self._question = question

    def render(self, columns: Mapping[str, Any]) -> str:
        """See `Prompter.render`."""
        messages = [
            {"role": "system", "content": self._system.render(columns)},
            {"role": "user", "content": self._question.render(columns)},
        ]
        return _encode(messages).decode()

    def render_all(self, rows: Sequence[Mapping[str, Any]]) -> list[str]:
        """See `prompts.Prompter.render_all`."""
        return list(map(self.render, rows))


class MessagesColumn:
    """A column that holds a list of messages, or the JSON text of one, sent as it is.

    A message is an object with a `role`; its `content` is text or a list of parts, and may be missing where
    the message has something else (the tool calls of an assistant). Nulls are left out: that is how a Parquet
    struct says that a row leaves a field out.

    Args:
        column: its name.
    """

    messages = True

    def __init__(self, column: str) -> None:
        self.fields = (column,)
        self._column = column

    def render(self, columns: Mapping[str, Any]) -> str:
        """See `Prompter.render`."""
        value = columns.get(self._column)
        if isinstance(value, str):
            try:
                value = msgspec.json.decode(value)
            except (msgspec.DecodeError, RecursionError):
                raise TemplateError(
                    f"column {quoted(self._column)} must hold messages, not text that is no JSON"
                ) from None
        if not isinstance(value, list):
            if self._column not in columns:
                raise TemplateError(missing_column(self._column, columns))
            raise TemplateError(
                f"column {quoted(self._column)} must hold a list of messages, not {kind_of(value)}"
            )
        if not value:
            raise TemplateError("the list of messages is empty")
        return _encode([self._message(number, each) for number, each in enumerate(value, start=1)]).decode()

    def render_all(self, rows: Sequence[Mapping[str, Any]]) -> list[str]:
        """See `prompts.Prompter.render_all`."""
        return list(map(self.render, rows))

    def _message(self, number: int, value: Any) -> Any:
        where = f"column {quoted(self._column)}: message {number}"
        if not isinstance(value, dict):
            raise TemplateError(f"{where} must be an object, not {kind_of(value)}")
        message = _without_nulls(value)
        role = message.get("role")
        if not isinstance(role, str) or not role:
            raise TemplateError(f"{where} has no role")
        if set(message) == {"role"}:
            raise TemplateError(f"{where} has no content")
        content = message.get("content", "")
        if not isinstance(content, str | list):
            raise TemplateError(f"{where}: content must be text or a list of parts, not {kind_of(content)}")
        return message


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_nulls(part) for name, part in value.items() if part is not None}
    if isinstance(value, list):
        return [_without_nulls(part) for part in value]
    return value
