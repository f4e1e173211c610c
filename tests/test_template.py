"""Prompts from columns."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qfbatch.job.settings import InputSettings
from qfbatch.prompts import prompter
from qfbatch.template import PromptColumn, Template, TemplateError


def test_fields_are_filled_in() -> None:
    """Strings go in as they are, everything else as compact JSON text."""
    template = Template("{s}|{i}|{f}|{b}|{list}|{object}|{s}|100%s {{x}}")
    columns = {
        "s": "a {b} %d",
        "i": 10**30,
        "f": 1.5,
        "b": True,
        "list": [1, None, "é"],
        "object": {"k": {"l": False}},
    }
    expected = (
        'a {b} %d|1000000000000000000000000000000|1.5|true|[1,null,"é"]|{"k":{"l":false}}|a {b} %d|100%s {x}'
    )
    assert template.render(columns) == expected
    assert template.fields == ("s", "i", "f", "b", "list", "object")


def test_a_name_is_taken_literally() -> None:
    """There is no attribute access, no indexing and no format specification: all of it is a column's name."""
    template = Template("{a.b}{a[0]}{a!r}{a:>10}{ a }{}{{".replace("{}", ""))
    assert template.fields == ("a.b", "a[0]", "a!r", "a:>10", " a ")
    assert template.render(dict.fromkeys(template.fields, "x")) == "xxxxx{"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Q: {a", "template: '{' at character 4 has no partner; write '{{' for a literal brace"),
        ("a}", "template: '}' at character 2 has no partner; write '}}' for a literal brace"),
        ('{"k": {a}}', "template: '{' at character 1 has no partner; write '{{' for a literal brace"),
        (
            "{}",
            "template: the field at character 1 has no name; write '{column}', or '{{}}' for literal braces",
        ),
    ],
)
def test_a_template_that_cannot_be_read(text: str, message: str) -> None:
    """A brace too many or too few is an error with its place, not a guess."""
    with pytest.raises(TemplateError) as caught:
        Template(text)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"questions": "x"}, "column 'question' is missing; did you mean 'questions'?"),
        ({"a": 1, "b": 2}, "column 'question' is missing; there are 'a', 'b'"),
        (
            {name * 9: 1 for name in "abcdefghij"},
            (
                "column 'question' is missing; there are 'aaaaaaaaa', 'bbbbbbbbb', 'ccccccccc', 'ddddddddd', "
                "'eeeeeeeee', 'fffffffff', 'ggggggggg', 'hhhhhhhhh' and 2 more"
            ),
        ),
        ({}, "column 'question' is missing; there are no columns"),
        ({"question": None}, "column 'question' is null, and the template needs it"),
    ],
)
def test_a_row_without_the_column(columns: dict[str, Any], message: str) -> None:
    """A missing or null column is named, with the one that may be meant."""
    with pytest.raises(TemplateError) as caught:
        Template("{question}?").render(columns)
    assert str(caught.value) == message


@pytest.mark.parametrize("blank", ["", " ", "\n\u3000"])
def test_an_empty_prompt_is_an_error(blank: str) -> None:
    """The service refuses blank prompts, so they are found before anything is sent."""
    for way in (Template("{p} "), PromptColumn("p")):
        with pytest.raises(TemplateError) as caught:
            way.render({"p": blank})
        assert str(caught.value) == "the prompt is empty"


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"p": None}, "column 'p' must hold text, not null"),
        ({"p": 1}, "column 'p' must hold text, not a number"),
        ({"p": True}, "column 'p' must hold text, not a boolean"),
        ({"p": ["x"]}, "column 'p' must hold text, not a list"),
        ({"p": {}}, "column 'p' must hold text, not an object"),
        ({}, "column 'p' is missing; there are no columns"),
    ],
)
def test_a_prompt_column_holds_text(columns: dict[str, Any], message: str) -> None:
    """Nothing else is turned into a prompt silently."""
    with pytest.raises(TemplateError) as caught:
        PromptColumn("p").render(columns)
    assert str(caught.value) == message


def test_a_long_name_does_not_flood_the_message() -> None:
    """Whatever stands in the input, a message stays readable."""
    with pytest.raises(TemplateError) as caught:
        PromptColumn("p").render({"\x1b[2J" + "x" * 1_000_000: 1})
    assert str(caught.value) == f"column 'p' is missing; there are '\\x1b[2J{'x' * 55}…'"


def test_one_way_for_both() -> None:
    """A job's settings decide which of the two it is; neither or both is a mistake of the caller."""
    assert prompter(InputSettings(paths=(), prompt="p")).fields == ("p",)
    assert prompter(InputSettings(paths=(), template="{a}{b}")).render({"a": "1", "b": "2"}) == "12"
    for wrong in (InputSettings(paths=()), InputSettings(paths=(), prompt="p", template="{a}")):
        with pytest.raises(ValueError, match="exactly one of `prompt`, `template` and `messages`"):
            prompter(wrong)


@given(st.text(), st.text(min_size=1))
def test_any_text_can_stand_in_a_template(literal: str, value: str) -> None:
    """Doubled braces give any literal text, and a value is never looked at for fields."""
    template = Template("x" + literal.replace("{", "{{").replace("}", "}}") + "{v}")
    assert template.render({"v": value}) == "x" + literal + value


@pytest.mark.parametrize("way", [PromptColumn("p"), Template("{p}!")], ids=["column", "template"])
@given(st.lists(st.fixed_dictionaries({}, optional={"p": st.sampled_from(["a", " b ", "", " ", None, 1])})))
def test_many_rows_at_once(way: PromptColumn | Template, rows: list[dict[str, Any]]) -> None:
    """Many rows give the prompts that each gives alone, or the first one's error."""
    expected: list[str] | str
    try:
        expected = [way.render(row) for row in rows]
    except TemplateError as error:
        expected = str(error)
    try:
        found: list[str] | str = way.render_all(rows)
    except TemplateError as error:
        found = str(error)
    assert found == expected
