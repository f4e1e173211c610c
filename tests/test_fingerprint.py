"""What decides a run's results, and what only decides how they come about."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from qfbatch.fingerprint import differences, fingerprint, with_earlier
from qfbatch.job.settings import (
    Budget,
    EndpointSettings,
    InputSettings,
    Job,
    ModelSettings,
    ServiceSettings,
)
from qfbatch.limits.quota import Quota
from qfbatch.pricing import Price
from qfbatch.retry import RetryPolicy

JOB = Job(
    name="j",
    source=Path("j.yaml"),
    input=InputSettings(paths=("a.jsonl",), prompt="prompt"),
    service=ServiceSettings(),
    models=(ModelSettings("m", "ep", {"temperature": 0.8, "stream": False}),),
    retry=RetryPolicy(),
    limits=Quota(),
    budget=Budget(),
    output_path=Path("runs/j"),
)
MODEL = JOB.models[0]


@pytest.mark.parametrize(
    ("changed", "lines"),
    [
        (replace(JOB, input=replace(JOB.input, prompt="q")), ["input.prompt: was 'prompt', is 'q'"]),
        (
            replace(JOB, input=replace(JOB.input, prompt=None, template="{q}")),
            ["input.prompt: was 'prompt', is not set", "input.template: was not set, is '{q}'"],
        ),
        (
            replace(JOB, input=replace(JOB.input, prompt=None, messages="m")),
            ["input.messages: was not set, is 'm'", "input.prompt: was 'prompt', is not set"],
        ),
        (replace(JOB, input=replace(JOB.input, system="s")), ["input.system: was not set, is 's'"]),
        (replace(JOB, input=replace(JOB.input, id="id")), ["input.id: was not set, is 'id'"]),
        (
            replace(JOB, models=(replace(MODEL, endpoint="other"),)),
            ["models.m.endpoint: was 'ep', is 'other'"],
        ),
        (
            replace(
                JOB, models=(replace(MODEL, parameters={"temperature": 0.5, "top_k": 3, "stream": False}),)
            ),
            [
                "models.m.parameters.temperature: was 0.8, is 0.5",
                "models.m.parameters.top_k: was not set, is 3",
            ],
        ),
        (replace(JOB, service=ServiceSettings(api="openai")), ["models.m.api: was 'qianfan', is 'openai'"]),
    ],
)
def test_what_decides_results_is_named_field_by_field(changed: Job, lines: list[str]) -> None:
    """A change of what decides results is refused by the name of the field."""
    assert lines == differences(fingerprint(JOB), fingerprint(changed))


@pytest.mark.parametrize(
    "changed",
    [
        replace(JOB, retry=RetryPolicy(retry_count=9, request_timeout_s=1)),
        replace(JOB, limits=Quota(concurrency=1, qps=1)),
        replace(JOB, budget=Budget(max_cost=1)),
        replace(JOB, models=(replace(MODEL, price=Price(1, 1), quota=Quota(rpm=5)),)),
        replace(JOB, service=replace(JOB.service, base_url="http://localhost", auth="none")),
        replace(JOB, models=(MODEL, ModelSettings("another", "ep2"))),
        replace(JOB, models=(replace(MODEL, parameters={"stream": False, "temperature": 0.8}),)),
        replace(JOB, input=replace(JOB.input, paths=("b.jsonl",), shard_rows=7)),
    ],
)
def test_what_decides_only_how_may_change(changed: Job) -> None:
    """Limits, retries, prices, addresses, further models and the order of parameters are free to change."""
    assert [] == differences(fingerprint(JOB), fingerprint(changed))


def at(*endpoints: str, api: str = "qianfan") -> Job:
    """The job with these endpoints for its one model."""
    service = ServiceSettings(api=api)
    return replace(
        JOB, models=(replace(MODEL, endpoints=tuple(EndpointSettings(e, e, service) for e in endpoints)),)
    )


@pytest.mark.parametrize(
    ("way", "lines"),
    [
        ([JOB, at("ep"), at("ep", "second"), at("second")], []),
        ([at("a", "b"), at("b", "c"), at("c", "d"), at("a")], []),
        ([at("a", "b"), at("c")], ["models.m.endpoint: was ['a', 'b'], is 'c'"]),
        ([JOB, at("a", "b")], ["models.m.endpoint: was 'ep', is ['a', 'b']"]),
        ([at("a"), at("a", "b", api="openai")], ["models.m.api: was 'qianfan', is 'openai'"]),
    ],
)
def test_endpoints_of_a_model_come_and_go_while_one_stays(way: list[Job], lines: list[str]) -> None:
    """What stood beside an endpoint once is the same model; a change with nothing in common is refused."""
    kept = fingerprint(way[0])
    for job in way[1:-1]:
        assert differences(kept, fingerprint(job)) == []
        kept = with_earlier(kept, fingerprint(job))
    assert differences(kept, fingerprint(way[-1])) == lines


def test_an_endpoint_that_was_mistyped_is_not_kept() -> None:
    """An endpoint corrected before it answered anything is not taken for the same model later."""
    kept = with_earlier(fingerprint(at("typo")), fingerprint(at("right")))
    assert differences(kept, fingerprint(at("typo"))) == ["models.m.endpoint: was 'right', is 'typo'"]
