"""Prompts that are lists of messages: from a column, or a system message before the prompt."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qfbatch.job.settings import InputSettings
from qfbatch.prompts import MessagesColumn, prompter
from qfbatch.template import TemplateError

CHAT = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "你好\n"}]


def rendered(value: Any) -> Any:
    """The messages that go out for a column's value."""
    return msgspec.json.decode(MessagesColumn("m").render({"m": value}))


def test_messages_go_out_as_they_are() -> None:
    """A list, or the JSON text of one, is sent with everything in it, in its order."""
    parts = [{"type": "text", "text": "x"}, {"type": "image_url", "image_url": {"url": "data:"}}]
    call = {"role": "assistant", "tool_calls": [{"id": "c", "function": {"name": "f", "arguments": "{}"}}]}
    messages = [*CHAT, {"role": "user", "content": parts, "name": "n"}, call]
    assert rendered(messages) == messages
    assert rendered(msgspec.json.encode(messages).decode()) == messages
    assert MessagesColumn("m").render({"m": CHAT}) == (
        '[{"role":"system","content":"Be brief."},{"role":"user","content":"你好\\n"}]'
    )


def test_nulls_are_not_sent() -> None:
    """A Parquet struct has every field in every row: one that is null was not given, at any depth."""
    message = {"role": "user", "name": None, "content": [{"type": "text", "text": "x", "image_url": None}]}
    assert rendered([message]) == [{"role": "user", "content": [{"type": "text", "text": "x"}]}]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"x": 1}, "column 'm' is missing; there are 'x'"),
        ({"m": None}, "column 'm' must hold a list of messages, not null"),
        ({"m": {}}, "column 'm' must hold a list of messages, not an object"),
        ({"m": "hello"}, "column 'm' must hold messages, not text that is no JSON"),
        ({"m": '"hello"'}, "column 'm' must hold a list of messages, not text"),
        ({"m": []}, "the list of messages is empty"),
        ({"m": [*CHAT, "x"]}, "column 'm': message 3 must be an object, not text"),
        ({"m": [{"content": "x"}]}, "column 'm': message 1 has no role"),
        ({"m": [{"role": "", "content": "x"}]}, "column 'm': message 1 has no role"),
        ({"m": [{"role": "user", "content": None}]}, "column 'm': message 1 has no content"),
        (
            {"m": [{"role": "user", "content": 5}]},
            "column 'm': message 1: content must be text or a list of parts, not a number",
        ),
    ],
)
def test_what_is_no_list_of_messages_is_refused(columns: dict[str, Any], message: str) -> None:
    """A row that cannot be asked is found in the survey, before any call, and says what is wrong."""
    with pytest.raises(TemplateError) as refused:
        MessagesColumn("m").render(columns)
    assert message == str(refused.value)


_json = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@settings(deadline=10_000)
@given(_json | st.lists(st.fixed_dictionaries({"role": st.text(), "content": _json}), max_size=3))
def test_any_value_is_refused_or_sent(value: Any) -> None:
    """Whatever a column holds, it is refused by a TemplateError or gives the JSON of a list."""
    with suppress(TemplateError):
        assert isinstance(rendered(value), list)


def test_a_system_message_stands_before_the_prompt() -> None:
    """The prompt's own rules hold, the system message is a template too, and both count as columns read."""
    asker = prompter(InputSettings(paths=(), prompt="p", system="Answer in {language}."))
    assert (asker.fields, asker.messages) == (("language", "p"), True)
    assert msgspec.json.decode(asker.render({"p": '"hi"', "language": "French"})) == [
        {"role": "system", "content": "Answer in French."},
        {"role": "user", "content": '"hi"'},
    ]
    with pytest.raises(TemplateError, match="the prompt is empty"):
        asker.render({"p": " ", "language": "French"})


def test_a_prompt_alone_stays_text() -> None:
    """Text that looks like a list of messages is a text all the same: only the job says what it is."""
    text = '[{"role":"user","content":"x"}]'
    asker = prompter(InputSettings(paths=(), prompt="p"))
    assert (asker.messages, asker.render({"p": text})) == (False, text)
    assert prompter(InputSettings(paths=(), messages="m")).messages is True


@pytest.mark.parametrize(
    "settings",
    [
        InputSettings(paths=(), prompt="p", messages="m"),
        InputSettings(paths=(), messages="m", system="s"),
        InputSettings(paths=(), system="s"),
    ],
)
def test_one_way_only(settings: InputSettings) -> None:
    """Two ways to ask, or none, is a mistake of the caller."""
    with pytest.raises(ValueError, match="exactly one of"):
        prompter(settings)
