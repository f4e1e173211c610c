"""Job files in the OpenAI dialects: their own defaults, names and parameters, and what only chats can ask."""

from __future__ import annotations

from pathlib import Path

import pytest
from job_files import load_text, problems_of

from qfbatch.job.settings import ServiceSettings

PROMPT = "prompt: prompt"


def text_of(service: str, *, ask: str = PROMPT, parameters: str = "{}") -> str:
    """A job file with this service, way to ask and parameters."""
    return f"""\
name: tiny
input: {{path: rows.jsonl, {ask}}}
service: {service}
models: [{{name: m, endpoint: org/model#1}}]
parameters: {parameters}
"""


@pytest.mark.parametrize(
    ("environ", "base_url"),
    [
        ({}, "https://qianfan.baidubce.com/v2"),
        ({"QIANFAN_BASE_URL": "http://v1.example"}, "https://qianfan.baidubce.com/v2"),
        ({"OPENAI_BASE_URL": "http://v2.example/v1/"}, "http://v2.example/v1"),
    ],
)
@pytest.mark.parametrize("api", ["openai", "openai-chat"])
def test_the_address_of_the_dialect(tmp_path: Path, api: str, environ: dict[str, str], base_url: str) -> None:
    """Each dialect has its own default address and its own variable; a model's name may hold anything."""
    job = load_text(tmp_path, text_of(f"{{api: {api}}}"), environ=environ)
    assert job.service == ServiceSettings(api=api, base_url=base_url)
    assert job.models[0].endpoint == "org/model#1"


def test_a_named_key(tmp_path: Path) -> None:
    """The name of a variable may stand in the job file, as keys may not."""
    job = load_text(tmp_path, text_of("{api: openai, base_url: local, key_env: MY_KEY}"))
    assert (job.service.key_env, job.service.base_url) == ("MY_KEY", "local")


@pytest.mark.parametrize(
    ("api", "parameters", "problem"),
    [
        ("openai", "{temperature: 2.5}", "parameters.temperature: must be at least 0 and at most 2, not 2.5"),
        ("openai", "{logprobs: true}", "parameters.logprobs: must be a whole number of at least 0"),
        ("openai-chat", "{logprobs: 5}", "parameters.logprobs: must be true or false, not 5"),
        ("openai-chat", "{suffix: x}", "parameters.suffix: is not a parameter of this service"),
        ("openai", "{n: 3}", "parameters.n: is not for jobs: a row has one answer"),
        ("openai", "{penalty_score: 1}", "parameters.penalty_score: is not a parameter of this service"),
    ],
)
def test_parameters_are_those_of_the_dialect(tmp_path: Path, api: str, parameters: str, problem: str) -> None:
    """A job file is held to the ranges of the dialect it names."""
    (found,) = problems_of(tmp_path, text_of(f"{{api: {api}}}", parameters=parameters))
    assert found.startswith(f"line 5: {problem}")


@pytest.mark.parametrize(
    ("api", "ask", "problems"),
    [
        ("openai", "messages: m", ["line 2: input.messages: is for chats, but service.api is openai"]),
        (
            "qianfan",
            f"{PROMPT}, system: s",
            ["line 2: input.system: is for chats, but service.api is qianfan"],
        ),
        (
            "openai-chat",
            f"{PROMPT}, messages: m",
            ["line 2: input.messages: give either input.prompt or input.messages, not both"],
        ),
        (
            "openai-chat",
            "messages: m, system: s",
            ["line 2: input.system: means nothing beside input.messages, which hold their own"],
        ),
        (
            "openai-chat",
            f'{PROMPT}, system: "{{"',
            ["line 2: input.system: '{' at character 1 has no partner"],
        ),
        ("openai-chat", f'{PROMPT}, system: " "', ["line 2: input.system: must not be blank"]),
    ],
)
def test_conversations_are_for_chats(tmp_path: Path, api: str, ask: str, problems: list[str]) -> None:
    """What a dialect cannot ask is refused where it stands, before any row is read."""
    text = text_of(f"{{api: {api}}}", ask=ask).replace("org/model#1", "m")
    found = problems_of(tmp_path, text)
    assert len(found) == len(problems)
    assert [line.startswith(start) for line, start in zip(found, problems, strict=True)] == [True]


def test_a_chat_may_have_a_constant_system_message(tmp_path: Path) -> None:
    """Unlike a prompt's template, it need not read a column."""
    job = load_text(tmp_path, text_of("{api: openai-chat}", ask=f"{PROMPT}, system: Be brief."))
    assert (job.input.prompt, job.input.system) == ("prompt", "Be brief.")
