"""Request parameters: what a dialect's table accepts, refuses and merges."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qfbatch.service.openai_completions import OPENAI_RULES
from qfbatch.service.parameters import Problem, body_fields, check_parameters, shown
from qfbatch.service.qianfan import QIANFAN_V1_RULES


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"temperature": 1},
        {"temperature": 0.0001},
        {"top_p": 0},
        {"top_p": 1.0},
        {"penalty_score": 1},
        {"penalty_score": 2.0},
        {"top_k": 1},
        {"stop": []},
        {"stop": ["\n\n", "x" * 20, "停", "END"]},
        {"user_id": ""},
        {"stream": True},
        {"extra": {"max_output_tokens": 5, "nested": {"a": [1]}}},
        {"temperature": None, "stop": None, "extra": None},
    ],
)
def test_documented_values_are_accepted(parameters: dict[str, Any]) -> None:
    """Everything the service documents passes, ends of ranges included; null is not given."""
    assert check_parameters(QIANFAN_V1_RULES, parameters) == []


@pytest.mark.parametrize(
    ("parameters", "field", "message"),
    [
        ({"temperature": 1.5}, "temperature", "must be above 0 and at most 1, not 1.5"),
        ({"temperature": 0}, "temperature", "must be above 0 and at most 1, not 0"),
        ({"temperature": True}, "temperature", "must be a number above 0 and at most 1, not true"),
        ({"temperature": "0.8"}, "temperature", 'must be a number above 0 and at most 1, not "0.8"'),
        ({"temperature": math.nan}, "temperature", "must be above 0 and at most 1, not nan"),
        ({"top_p": math.inf}, "top_p", "must be at least 0 and at most 1, not inf"),
        ({"top_p": -math.inf}, "top_p", "must be at least 0 and at most 1, not -inf"),
        ({"penalty_score": 0.9}, "penalty_score", "must be at least 1 and at most 2, not 0.9"),
        (
            {"penalty_score": 10**5000},
            "penalty_score",
            "must be at least 1 and at most 2, not a number of more than 18 digits",
        ),
        ({"top_k": 0}, "top_k", "must be a whole number of at least 1, not 0"),
        ({"top_k": 2.0}, "top_k", "must be a whole number of at least 1, not 2.0"),
        ({"top_k": True}, "top_k", "must be a whole number of at least 1, not true"),
        ({"stop": "\n"}, "stop", 'must be a list of texts, not "\\n"'),
        ({"stop": ["a"] * 5}, "stop", "must have at most 4 texts, not 5"),
        ({"stop": ["a", "x" * 21]}, "stop", "text 2 of the list must have at most 20 characters, not 21"),
        ({"stop": ["a", 5]}, "stop", "text 2 of the list must be text, not 5"),
        ({"stop": [""]}, "stop", "text 1 of the list is empty"),
        ({"user_id": 7}, "user_id", "must be text, not 7"),
        ({"stream": 1}, "stream", "must be true or false, not 1"),
        ({"stream": "s" * 40}, "stream", "must be true or false, not text of 40 characters"),
        (
            {"temprature": 1},
            "temprature",
            'is not a parameter of this service; did you mean "temperature"?',
        ),
        (
            {"max_tokens": 5},
            "max_tokens",
            "is not a parameter of this service; an additional body field goes under extra",
        ),
        ({"prompt": "x"}, "prompt", "the prompt comes from the input, not from here"),
        ({"extra": [1]}, "extra", "must be a mapping of additional body fields, not a list"),
        ({"extra": {"prompt": "x"}}, "extra.prompt", "the prompt comes from the input, not from here"),
        ({"extra": {"stream": 1}}, "extra.stream", "must be true or false, not 1"),
        (
            {"top_p": 0.4, "extra": {"top_p": 0.5}},
            "extra.top_p",
            "is given beside extra, too: give it once",
        ),
        ({"extra": {"x": math.nan}}, "extra.x", "cannot be sent as JSON: nan"),
        ({"extra": {"x": [{"y": math.inf}]}}, "extra.x", "cannot be sent as JSON: inf"),
        ({"extra": {"x": [2**63]}}, "extra.x", "cannot be sent as JSON: a number of more than 18 digits"),
        ({"extra": {"x": b"1"}}, "extra.x", "cannot be sent as JSON: a bytes"),
        ({"extra": {"x": {1: 2}}}, "extra.x", "cannot be sent as JSON: a key that is not text"),
        (
            {"top_k": 2**63},
            "top_k",
            "must be a whole number of at least 1, not a number of more than 18 digits",
        ),
    ],
)
def test_each_refusal_names_field_and_rule(parameters: dict[str, Any], field: str, message: str) -> None:
    """A refused value is one problem that names its field and says what it must be."""
    assert check_parameters(QIANFAN_V1_RULES, parameters) == [Problem(field, message)]


def test_all_problems_are_found_at_once() -> None:
    """One wrong parameter does not hide another."""
    found = check_parameters(QIANFAN_V1_RULES, {"top_k": 0, "stream": 1, "extra": {"stop": [""]}})
    assert [p.field for p in found] == ["top_k", "stream", "extra.stop"]


def test_layers_merge_into_the_body() -> None:
    """The later layer wins, `extra` becomes plain body fields, null overrides nothing."""
    job = {"top_p": 0.8, "stop": ["\n"], "stream": False, "extra": {"seed": 1, "a": None}}
    model = {"top_p": None, "stream": True, "extra": {"seed": 2}}
    expected = {"top_p": 0.8, "stop": ["\n"], "stream": True, "seed": 2, "a": None}
    assert body_fields(job, model) == expected


def test_extra_is_for_a_job_of_two_dialects() -> None:
    """A field under `extra` that one dialect documents is fine for both, and checked where it is known."""
    asked = {"temperature": 0.5, "extra": {"seed": 7}}
    assert check_parameters(QIANFAN_V1_RULES, asked) == check_parameters(OPENAI_RULES, asked) == []
    assert body_fields(asked) == {"temperature": 0.5, "seed": 7}
    [problem] = check_parameters(OPENAI_RULES, {"extra": {"seed": "x"}})
    assert problem.field == "extra.seed"


def test_schema_states_the_ranges() -> None:
    """Each rule gives the JSON Schema that says the same."""
    schemas = {name: rule.schema() for name, rule in QIANFAN_V1_RULES.items()}
    text = {"type": "string", "minLength": 1, "maxLength": 20}
    assert schemas == {
        "temperature": {"type": "number", "exclusiveMinimum": 0.0, "maximum": 1.0},
        "top_p": {"type": "number", "minimum": 0.0, "maximum": 1.0},
        "top_k": {"type": "integer", "minimum": 1},
        "penalty_score": {"type": "number", "minimum": 1.0, "maximum": 2.0},
        "stop": {"type": "array", "maxItems": 4, "items": text},
        "user_id": {"type": "string"},
        "stream": {"type": "boolean"},
    }


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
_names = st.sampled_from([*QIANFAN_V1_RULES, "extra", "prompt"]) | st.text()


@settings(deadline=10_000)
@given(st.dictionaries(_names, _json))
def test_any_value_is_judged_without_raising(parameters: dict[str, Any]) -> None:
    """Whatever a row holds, the answer is a list of problems; what passes can be merged and sent."""
    if not check_parameters(QIANFAN_V1_RULES, parameters):
        msgspec.json.encode(body_fields(parameters))


@settings(deadline=10_000)
@given(_json)
def test_shown_values_are_one_short_line(value: Any) -> None:
    """A value in a message never breaks the line nor fills the screen."""
    text = shown(value)
    assert text.isprintable()
    assert len(text) < 300
