"""Job files whose models are asked at several endpoints and services, and share quotas."""

from __future__ import annotations

from pathlib import Path

import pytest
from job_files import load_text, problems_of

from qfbatch.job.settings import EndpointSettings, ServiceSettings
from qfbatch.limits.quota import Quota

HEAD = "name: t\ninput: {path: r.jsonl, prompt: p}\n"  # two lines
SEVERAL = (
    HEAD
    + """\
service: {base_url: "http://one", auth: none}
limits: {concurrency: 8}
models:
  - name: m
    quota: account
    limits: {qps: 5}
    endpoints:
      - {endpoint: a, weight: 3, limits: {rpm: 60}}
      - {endpoint: a, name: spare, quota: other, service: {base_url: "http://two"}}
  - {name: n, endpoint: b, service: {api: openai, key_env: GATEWAY_NAME}}
quotas:
  account: {rpm: 600}
  other: {tpm: 1000, concurrency: 2}
"""
)


def test_endpoints_take_over_what_they_do_not_say(tmp_path: Path) -> None:
    """An endpoint's service, limits and quota are its own words, else its model's, else the job's."""
    job = load_text(tmp_path, SEVERAL)
    one = ServiceSettings(base_url="http://one", auth="none")
    two = ServiceSettings(base_url="http://two", auth="none")
    assert job.endpoints_of(job.models[0]) == (
        EndpointSettings("a", "a", one, 3.0, Quota(8, rpm=60.0), "account"),
        EndpointSettings("spare", "a", two, 1.0, None, "other"),
    )
    assert job.quotas == {"account": Quota(8, rpm=600.0), "other": Quota(2, tpm=1000.0)}
    assert job.models[0].quota == Quota(8, qps=5.0)
    assert job.warnings == ()


def test_a_service_of_another_kind_takes_nothing_over(tmp_path: Path) -> None:
    """Neither the address nor the credentials of one kind of service are used for another kind."""
    job = load_text(tmp_path, SEVERAL, environ={"OPENAI_BASE_URL": "http://gate/v1"})
    (end,) = job.endpoints_of(job.models[1])
    assert (end.service.api, end.service.auth, end.service.key_env) == ("openai", "auto", "GATEWAY_NAME")
    assert end.service.base_url not in {"http://one", "https://aip.baidubce.com"}
    assert [service.api for service in job.services] == ["qianfan", "qianfan", "openai"]


def test_dialects_of_one_kind_take_over(tmp_path: Path) -> None:
    """A chat model beside completions keeps the job's address and key."""
    text = HEAD + (
        'service: {api: openai, base_url: "http://gate/v1", key_env: SOME_NAME}\n'
        "models:\n- {name: m, endpoint: a}\n- {name: n, endpoint: a, service: {api: openai-chat}}\n"
    )
    job = load_text(tmp_path, text)
    (end,) = job.endpoints_of(job.models[1])
    assert end.service == ServiceSettings("openai-chat", "http://gate/v1", "auto", "SOME_NAME")
    assert job.service == ServiceSettings("openai", "http://gate/v1", "auto", "SOME_NAME")


def test_an_override_finds_an_endpoint_by_its_name(tmp_path: Path) -> None:
    """`--set` reaches an endpoint by its name, and a quota by its own."""
    job = load_text(
        tmp_path, SEVERAL, overrides=["models.m.endpoints.spare.weight=7", "quotas.account.rpm=30"]
    )
    assert job.models[0].endpoints[1].weight == 7.0
    assert job.quotas["account"].rpm == 30.0


@pytest.mark.parametrize(
    ("model", "problem"),
    [
        (
            "{endpoint: e, endpoints: [{endpoint: f}]}",
            "endpoints: give either endpoint or endpoints, not both",
        ),
        ("{endpoints: []}", "endpoints: must not be empty"),
        ("{endpoints: [{weight: 2}]}", "endpoints[0].endpoint: is required"),
        ("{endpoints: [{endpoint: e, weight: 0}]}", "endpoints[0].weight: must be above 0, not 0"),
        (
            "{endpoints: [{endpoint: e, weigth: 2}]}",
            'endpoints[0]: unknown key "weigth"; did you mean "weight"?',
        ),
        (
            "{endpoints: [{endpoint: e, rpm: 2}]}",
            'endpoints[0]: unknown key "rpm"; it belongs under limits',
        ),
        ("{endpoint: e, weight: 2}", 'unknown key "weight"; it belongs under models.endpoints'),
        (
            "{endpoints: [{endpoint: e}, {endpoint: f}, {endpoint: e}]}",
            "endpoints[2].endpoint: endpoints[0] is called the same; give each a name of its own",
        ),
        (
            "{endpoints: [{endpoint: e, name: x}, {endpoint: f, name: x}]}",
            "endpoints[1].name: endpoints[0] is called the same; give each a name of its own",
        ),
        (
            "{endpoints: [{endpoint: a/b}, {endpoint: f}]}",
            (
                "endpoints[0].endpoint: give only the last part of the service's URL, "
                "without blanks or any of / ? # %"
            ),
        ),
        (
            "{endpoints: [{endpoint: e}, {endpoint: f, service: {api: openai}}]}",
            (
                "endpoints[1].service.api: is openai, but the model's first endpoint speaks qianfan: all of "
                "them are sent the same parameters; make it a model of its own"
            ),
        ),
        (
            "{endpoint: e, service: {auth: imm}}",
            "service.auth: must be auto, iam, oauth, token, bearer or none",
        ),
        (
            "{endpoint: e, service: {api: openai, auth: iam}}",
            "service.auth: must be auto, bearer or none for api openai, not iam",
        ),
        (
            "{endpoint: e, service: {api: openai}, parameters: {penalty_score: 1}}",
            "parameters.penalty_score: ",
        ),
        ("{endpoint: e, quota: acount}", 'quota: there is no quota "acount"; did you mean "account"?'),
        (
            "{endpoints: [{endpoint: e, quota: nobody}]}",
            'endpoints[0].quota: there is no quota "nobody"; quotas has account',
        ),
    ],
)
def test_a_wrong_endpoint_is_one_problem(tmp_path: Path, model: str, problem: str) -> None:
    """What is wrong with an endpoint names it by its place, on its line, and says what must be."""
    text = f"{HEAD}quotas: {{account: {{rpm: 5}}}}\nmodels:\n- {{name: m, {model[1:]}\n"
    (found,) = [line for line in problems_of(tmp_path, text) if "account: " not in line]
    where, _, rest = problem.partition(" ")
    spelled = f"line 5: models[0].{problem}" if where.endswith(":") else f"line 5: models[0]: {problem}"
    if where.startswith("endpoints[0]:"):
        spelled = f"line 5: models[0].endpoints[0]: {rest}"
    assert found.startswith(spelled)


@pytest.mark.parametrize(
    ("quotas", "problem"),
    [
        ("{a: {rpn: 5}}", 'quotas.a: unknown key "rpn"; did you mean "rpm"?'),
        ("{a: {rpm: 0}}", "quotas.a.rpm: must be above 0, not 0"),
        ("{a: 5}", "quotas.a: must be a mapping, not 5"),
        ("5", "quotas: must be a mapping, not 5"),
    ],
)
def test_a_wrong_quota_is_one_problem(tmp_path: Path, quotas: str, problem: str) -> None:
    """What is wrong with a shared quota is said under its name."""
    text = f"{HEAD}models: [{{name: m, endpoint: e, quota: a}}]\nquotas: {quotas}\n"
    assert [line for line in problems_of(tmp_path, text) if "there is no quota" not in line] == [
        f"line 4: {problem}"
    ]


def test_parameters_for_all_models_must_hold_in_all_their_dialects(tmp_path: Path) -> None:
    """A parameter that one of the models' services does not know is refused for all."""
    text = HEAD + (
        "parameters: {penalty_score: 1.1}\n"
        "models:\n- {name: m, endpoint: a}\n- {name: n, endpoint: a, service: {api: openai, auth: none}}\n"
    )
    (found,) = problems_of(tmp_path, text)
    assert found.startswith("line 3: parameters.penalty_score: ")


def test_a_quota_that_limits_nothing_is_warned_of(tmp_path: Path) -> None:
    """A quota nobody names is probably a forgotten line."""
    job = load_text(tmp_path, f"{HEAD}models: [{{name: m, endpoint: e}}]\nquotas: {{a: {{rpm: 5}}}}\n")
    (warning,) = job.warnings
    assert warning.startswith("quotas.a limits nothing")
