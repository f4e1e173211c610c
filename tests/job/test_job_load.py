"""From a valid job file to frozen settings."""

from __future__ import annotations

from pathlib import Path

import pytest
from job_files import MINIMAL, SAMPLE, load_text, problems_of

from qfbatch.errors import JobFileError
from qfbatch.job.load import load_job
from qfbatch.job.settings import Budget, InputSettings, Job, ModelSettings, ServiceSettings
from qfbatch.limits.quota import Quota
from qfbatch.pricing import Price
from qfbatch.retry import RetryPolicy


def test_the_documented_sample_becomes_settings(tmp_path: Path) -> None:
    """The documentation's sample file loads, and every value of it arrives."""
    assert load_text(tmp_path, SAMPLE) == Job(
        name="eval",
        source=tmp_path / "job.yaml",
        input=InputSettings(
            paths=("sample_data/prompts.jsonl",),
            id="id",
            prompt="prompt",
            columns=("topic", "reference"),
            shard_rows=1000,
        ),
        service=ServiceSettings(api="qianfan", base_url="https://aip.baidubce.com", auth="auto"),
        models=(
            ModelSettings(
                name="yi-34b",
                endpoint="your_yi_34b_endpoint",
                parameters={"top_p": 0.8, "stop": ["\n\n"], "stream": False, "temperature": 0.8},
                price=Price(prompt_per_1k=0.004, completion_per_1k=0.004, currency="CNY"),
            ),
            ModelSettings(
                name="pythia-6.9b",
                endpoint="your_pythia_endpoint",
                parameters={"top_p": 0.8, "stop": ["\n\n"], "stream": False},
            ),
        ),
        retry=RetryPolicy(5, 60.0, backoff_factor=1.0, jitter_s=1.0, max_wait_s=120.0),
        limits=Quota(16, None, None, None, adaptive=True),
        budget=Budget(None, None),
        output_path=Path("runs/eval"),
        warnings=("yi-34b: temperature and top_p are both set; the service advises to set only one of them",),
    )


def test_what_is_not_given_has_the_defaults(tmp_path: Path) -> None:
    """The smallest job file runs with the documented defaults."""
    assert load_text(tmp_path, MINIMAL) == Job(
        name="tiny",
        source=tmp_path / "job.yaml",
        input=InputSettings(paths=("rows.jsonl",), prompt="prompt"),
        service=ServiceSettings(),
        models=(ModelSettings(name="m", endpoint="e"),),
        retry=RetryPolicy(),
        limits=Quota(),
        budget=Budget(),
        output_path=Path("runs/tiny"),
    )


def test_empty_sections_have_the_defaults(tmp_path: Path) -> None:
    """A section whose lines are all comments is as good as none."""
    text = MINIMAL + "service:\nparameters:\nretry:\nlimits:\nbudget:\noutput:\n"
    assert load_text(tmp_path, text) == load_text(tmp_path, MINIMAL)


def test_every_retry_key_arrives(tmp_path: Path) -> None:
    """Each key of `retry` sets its own field."""
    text = MINIMAL + (
        "retry: {retry_count: -1, request_timeout: 2, connect_timeout: 3, event_timeout: 4,\n"
        "  throttle_timeout: 5, backoff_factor: 0, retry_jitter: 0.5, retry_max_wait_interval: 7,\n"
        "  retry_err_codes: [336003, 17, 17]}\n"
    )
    expected = RetryPolicy(
        retry_count=-1,
        request_timeout_s=2.0,
        connect_timeout_s=3.0,
        event_timeout_s=4.0,
        backoff_factor=0.0,
        jitter_s=0.5,
        max_wait_s=7.0,
        throttle_timeout_s=5.0,
        extra_codes=frozenset({17, 336003}),
    )
    assert load_text(tmp_path, text).retry == expected


def test_parameters_of_job_and_model_are_merged(tmp_path: Path) -> None:
    """The model's own parameters win, `extra` becomes body fields, null overrides nothing."""
    text = (
        MINIMAL
        + "    parameters: {top_k: 3, stop: null, extra: {seed: 2}}\n"
        + "parameters: {top_k: 5, stop: [x], stream: true, extra: {seed: 1, max_output_tokens: 9}}\n"
    )
    expected = {"top_k": 3, "stop": ["x"], "stream": True, "seed": 2, "max_output_tokens": 9}
    assert load_text(tmp_path, text).models[0].parameters == expected


def test_a_models_limits_inherit_concurrency_from_the_run(tmp_path: Path) -> None:
    """A model that declares only its qps does not get a concurrency of its own."""
    text = MINIMAL + "    limits: {qps: 5}\nlimits: {concurrency: 64, rpm: 100, adaptive: false}\n"
    job = load_text(tmp_path, text)
    assert job.models[0].quota == Quota(concurrency=64, qps=5.0, adaptive=False)
    assert job.limits == Quota(concurrency=64, rpm=100.0, adaptive=False)


def test_several_input_paths(tmp_path: Path) -> None:
    """`input.path` is one path or a list of them."""
    text = MINIMAL.replace("path: rows.jsonl", "path: [a.jsonl, b/*.parquet]")
    assert load_text(tmp_path, text).input.paths == ("a.jsonl", "b/*.parquet")


@pytest.mark.parametrize(
    ("given", "environ", "expected", "names"),
    [
        ("", {}, "https://aip.baidubce.com", ()),
        ("", {"QIANFAN_BASE_URL": ""}, "https://aip.baidubce.com", ()),
        ("", {"QIANFAN_BASE_URL": "http://gate:80/x/"}, "http://gate:80/x", ("QIANFAN_BASE_URL",)),
        ("", {"QIANFAN_BASE_URL": "local"}, "local", ("QIANFAN_BASE_URL",)),
        ("service: {base_url: 'http://[::1]:9'}", {"QIANFAN_BASE_URL": "http://no"}, "http://[::1]:9", ()),
        ("service: {base_url: local}", {}, "local", ()),
        ("service: {base_url: '${GATE:-http://d}'}", {"GATE": "http://g"}, "http://g", ("GATE",)),
    ],
)
def test_base_url_comes_from_file_then_environment_then_default(
    tmp_path: Path, given: str, environ: dict[str, str], expected: str, names: tuple[str, ...]
) -> None:
    """The file's base URL wins over QIANFAN_BASE_URL, which wins over the public service."""
    job = load_text(tmp_path, MINIMAL + given, environ=environ)
    assert (job.service.base_url, job.environment) == (expected, names)


def test_a_wrong_base_url_in_the_environment_is_named_by_its_variable(tmp_path: Path) -> None:
    """A problem that is not in the file says where it is instead of a line; the value is not shown."""
    for url in ("nonsense", "http://u:hunter2@h"):
        found = problems_of(tmp_path, MINIMAL, environ={"QIANFAN_BASE_URL": url})
        assert found[0].startswith("QIANFAN_BASE_URL: must ")
        assert "hunter2" not in "".join(found)


def test_references_read_the_environment(tmp_path: Path) -> None:
    """A reference is replaced inside text, typed where it is the whole value, escaped by a second dollar."""
    text = (
        MINIMAL.replace("rows.jsonl", "${DIR}/rows-${N:-0}.jsonl").replace(
            "prompt: prompt", 'template: "$${x} {q}"'
        )
        + 'limits: {qps: \'${QPS:-5}\', adaptive: "${ADAPTIVE}", rpm: "${RPM:-}"}\n'
        + "output:\n  path: ${OUT:-out}\n"
    )
    job = load_text(tmp_path, text, environ={"DIR": "data", "ADAPTIVE": "false", "N": ""})
    assert job.input.paths == ("data/rows-0.jsonl",)
    assert job.input.template == "${x} {q}"
    assert job.limits == Quota(qps=5.0, adaptive=False)
    assert job.output_path == Path("out")
    assert job.environment == ("ADAPTIVE", "DIR", "N", "OUT", "QPS", "RPM")


def test_the_run_directory_may_be_in_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tilde means the same in output.path as in input.path and in a shell, not a folder of that name."""
    monkeypatch.setenv("HOME", "/home/eve")
    job = load_text(tmp_path, MINIMAL + "output: {path: ~/runs/x}\n")
    assert job.output_path == Path("/home/eve/runs/x")


def test_a_reference_stays_text_where_text_is_asked_for(tmp_path: Path) -> None:
    """A name or a user id that happens to look like a number is still text."""
    text = MINIMAL.replace("tiny", "${N}") + "parameters: {user_id: '${N}', stop: ['${N}'], top_k: '${N}'}\n"
    job = load_text(tmp_path, text, environ={"N": "007"})
    assert job.name == "007"
    assert job.models[0].parameters == {"user_id": "007", "stop": ["007"], "top_k": 7}


def test_overrides_are_set_by_dotted_path(tmp_path: Path) -> None:
    """`--set` reaches sections that are not there yet, list elements by number and models by name."""
    overrides = [
        "limits.qps=2.5",
        "models.pythia-6.9b.endpoint=other",
        "models.0.parameters.stop=['a', 'b']",
        "models.pythia-6.9b.price.unit_hour=20",
        "input.columns=null",
        "service.base_url=${GATE}",
        "parameters.extra={a: 1}",
        "name=first",
        "name=second",
    ]
    job = load_text(tmp_path, SAMPLE, environ={"GATE": "http://gate"}, overrides=overrides)
    assert job.limits.qps == 2.5
    assert [model.endpoint for model in job.models] == ["your_yi_34b_endpoint", "other"]
    assert job.models[0].parameters["stop"] == ["a", "b"]
    assert job.models[1].parameters["a"] == 1
    assert job.models[1].price == Price(unit_hour=20.0)
    assert job.input.columns is None
    assert job.service.base_url == "http://gate"
    assert job.name == "second"


def test_an_override_replaces_a_reference_that_is_not_set(tmp_path: Path) -> None:
    """What is overridden is not read: its variable may be missing."""
    text = MINIMAL + "service:\n  base_url: ${NOWHERE}\n"
    assert load_text(tmp_path, text, overrides=["service.base_url=local"]).service.base_url == "local"


def test_anchors_aliases_and_merges(tmp_path: Path) -> None:
    """YAML's own reuse works, and an override of one use leaves the others alone."""
    text = """\
name: t
input: {path: r.jsonl, prompt: p}
models:
  - &first
    name: a
    endpoint: e
    parameters: &p {top_k: 1, user_id: u}
  - <<: *first
    name: b
    parameters:
      <<: *p
      top_k: 2
  - {name: c, endpoint: f, parameters: *p}
"""
    job = load_text(tmp_path, text, overrides=["models.c.parameters.top_k=9"])
    assert [(m.name, m.endpoint, m.parameters) for m in job.models] == [
        ("a", "e", {"top_k": 1, "user_id": "u"}),
        ("b", "e", {"top_k": 2, "user_id": "u"}),
        ("c", "f", {"top_k": 9, "user_id": "u"}),
    ]


def test_a_budget_that_cannot_see_a_model_is_a_warning(tmp_path: Path) -> None:
    """A budget of cost beside a model without a price is allowed, and said."""
    job = load_text(tmp_path, SAMPLE, overrides=["budget.max_cost=5", "models.0.parameters.top_p=null"])
    assert job.warnings[-1] == "budget.max_cost does not count pythia-6.9b: no price is given"


@pytest.mark.parametrize(
    ("content", "problem", "hint"),
    [
        (b"", "the file is empty", "Start from a commented job file: qfbatch init"),
        (b"# nothing\n", "the file is empty", "Start from a commented job file: qfbatch init"),
        (b"a: \xff\n", "line 1: not UTF-8 text", "Save it as UTF-8."),
        (
            b"\n- a\n",
            "line 2: a job file is a mapping of keys (name, input, models, …), not a list",
            "Start from a commented job file: qfbatch init",
        ),
        (
            b"just text",
            "line 1: a job file is a mapping of keys (name, input, models, …), not a single value",
            "Start from a commented job file: qfbatch init",
        ),
        (
            b"#" * 1_000_001,
            "larger than 1,000,000 bytes, which no job file is",
            "Is this a data file? It goes into input.path of a job file.",
        ),
    ],
)
def test_a_file_that_is_no_job_file(tmp_path: Path, content: bytes, problem: str, hint: str) -> None:
    """A file that cannot be a job file is one problem with the next step."""
    path = tmp_path / "job.yaml"
    path.write_bytes(content)
    with pytest.raises(JobFileError) as caught:
        load_job(path, environ={})
    assert (caught.value.problems, caught.value.hint) == ((problem,), hint)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("name", "problem", "hint"),
    [
        ("none.yaml", "there is no such file", "Start from a commented job file: qfbatch init"),
        (".", "this is a directory, not a job file", "Name the job file in it."),
        ("a\0b", "cannot be read: its name is not valid", "Check the name and the file's permissions."),
    ],
)
def test_a_file_that_cannot_be_read(tmp_path: Path, name: str, problem: str, hint: str) -> None:
    """A missing file and a directory are one problem with the next step."""
    with pytest.raises(JobFileError) as caught:
        load_job(tmp_path / name, environ={})
    assert (caught.value.problems, caught.value.hint) == ((problem,), hint)


def test_a_byte_order_mark_and_crlf_are_fine(tmp_path: Path) -> None:
    """A file saved on Windows loads."""
    assert load_text(tmp_path, b"\xef\xbb\xbf" + MINIMAL.replace("\n", "\r\n").encode()).name == "tiny"
