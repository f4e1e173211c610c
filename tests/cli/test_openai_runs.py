"""Whole runs in the OpenAI dialects: every fault, conversations, keys, resuming."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scripted import ScriptedServer

from .desk import Desk
from .endings import Ending, common_endings

# Written out from the specification: the words of each row-level refusal, and their status.
ROW_CODES = {
    "malformed_json": 400, "invalid_messages": 400, "characters_too_long": 400, "tokens_too_long": 400,
    "invalid_argument": 400, "system_unsafe": 403, "user_setting_unsafe": 403,
}  # fmt: skip
RETRIED_CODES = {"internal_error": 500, "dispatch_internal_error": 500}
THROTTLE_CODES = {
    "rpm_rate_limit_exceeded", "tpm_rate_limit_exceeded", "input_tpm_rate_limit_exceeded",
    "output_tpm_rate_limit_exceeded", "user_rate_limit_exceeded", "cluster_rate_limit_exceeded",
}  # fmt: skip
JOB_CODES = {
    "invalid_iam_token", "invalid_model", "invalid_appid", "no_parameter_permission", "account_overdue",
    "model_offline", "404", "402",
}  # fmt: skip


def endings(*, stream: bool) -> dict[str, Ending]:
    """For each prompt with a fault: status, error code and calls of its row."""
    expected = common_endings(stream=stream)
    for name, status in ROW_CODES.items():
        expected[f"{{{{fault: {name}}}}}"] = ("failed", status, 1)
    for name, status in RETRIED_CODES.items():
        expected[f"{{{{fault: {name}}}}}"] = ("failed", status, 2)
    for name in THROTTLE_CODES:
        expected[f"{{{{fault: {name} times=1 retry_after=0.1}}}}"] = ("succeeded", None, 2)
    return expected


def service(desk: Desk, api: str, **fields: Any) -> dict[str, Any]:
    """The job's section for the scripted server."""
    return {"api": api, "base_url": f"{desk.server.base_url}/v1", **fields}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("api", ["openai", "openai-chat"])
def test_every_fault_ends_as_the_table_says(desk: Desk, api: str, stream: bool) -> None:  # noqa: FBT001
    """Rows are retried, failed or throttled by their own fault, whole or streamed, and the counts balance."""
    expected = endings(stream=stream)
    desk.rows(list(expected))
    desk.job(service=service(desk, api), parameters={"stream": stream}, limits={"concurrency": 8})
    done = desk.type("run", "job.yaml", "--quiet")
    assert done.code == 1, done.err
    rows = {row["prompt"]: row for row in desk.results().iter_rows(named=True)}
    found = {prompt: (row["status"], row["error_code"], row["attempts"]) for prompt, row in rows.items()}
    assert expected == found
    reported = {row["usage_source"] for row in rows.values() if row["status"] == "succeeded"}
    assert reported == {"reported"}
    unsafe = rows["{{fault: system_unsafe}}"]
    assert (unsafe["error_kind"], unsafe["is_safe"]) == ("unsafe", False)
    assert unsafe["error_message"].startswith("[system_unsafe] ")
    filtered = rows["{{answer: unsafe}}"]
    assert (filtered["is_safe"], filtered["finish_reason"]) == (False, "content_filter")


@pytest.mark.parametrize("code", sorted(JOB_CODES))
def test_what_concerns_every_row_stops_the_run(desk: Desk, code: str) -> None:
    """Credentials, quota, a missing model or route: exit 5 at the first proof, no row failed for it."""
    desk.rows([f"{{{{fault: {code}}}}}", "plain"])
    endpoint = desk.job(service=service(desk, "openai"), limits={"concurrency": 1})
    done = desk.type("run", "job.yaml", "--quiet")
    assert done.code == 5, done.err
    assert code in done.err
    assert desk.server.traffic(endpoint)["calls"] == 1
    assert list((desk.path / "runs/desk/results").glob("*.parquet")) == []


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_conversations(desk: Desk, kind: str) -> None:
    """A column of messages is asked as it is, and stands in the results as sent; nulls are left out."""
    system = {"role": "system", "content": "Be brief.", "name": None}
    rows = [
        {"id": "a", "messages": [system, {"role": "user", "content": "one", "name": None}]},
        {"id": "b", "messages": [{"role": "user", "content": "two", "name": "N"}]},
    ]
    if kind == "jsonl":
        desk.rows(rows)
    else:
        pq.write_table(pa.Table.from_pylist(rows), desk.path / "rows.parquet")
    desk.job(
        service=service(desk, "openai-chat"),
        input={"path": f"rows.{kind}", "id": "id", "messages": "messages"},
    )
    done = desk.type("run", "job.yaml", "--quiet")
    assert done.code == 0, done.err
    results = desk.results()
    assert results["result"].to_list() == ["one", "two"]
    assert [json.loads(prompt) for prompt in results["prompt"]] == [
        [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "one"}],
        [{"role": "user", "content": "two", "name": "N"}],
    ]
    assert "input_messages" not in results.columns
    again = desk.type("run", "job.yaml", "--quiet")
    assert (again.code, "already" in again.err or "complete" in again.err) == (0, True)


def test_a_system_message_decides_the_answers(desk: Desk) -> None:
    """It is sent before the prompt, and a resume with another one is refused by name."""
    desk.rows(3)
    given = {"path": "rows.jsonl", "id": "id", "prompt": "prompt", "system": "You like {topic} numbers."}
    desk.job(service=service(desk, "openai-chat"), input=given)
    assert desk.type("run", "job.yaml", "--quiet", "--limit", "2").code == 0
    assert json.loads(desk.results()["prompt"][0]) == [
        {"role": "system", "content": "You like even numbers."},
        {"role": "user", "content": "prompt number 0"},
    ]
    refused = desk.type("run", "job.yaml", "--quiet", "--set", "input.system=Be brief.")
    assert refused.code == 4
    assert "input.system: was 'You like {topic} numbers.', is 'Be brief.'" in refused.err
    assert desk.type("run", "job.yaml", "--quiet").code == 0
    assert desk.results()["status"].to_list() == ["succeeded"] * 3


def test_tokens_are_estimated_where_none_are_reported(desk: Desk) -> None:
    """A server that is not asked for usage reports none of a stream; the results say what they hold."""
    desk.rows(["three small words"])
    desk.job(
        service=service(desk, "openai"),
        parameters={"stream": True, "extra": {"stream_options": {"include_usage": False}}},
    )
    assert desk.type("run", "job.yaml", "--quiet").code == 0
    (row,) = desk.results().iter_rows(named=True)
    assert (row["usage_source"], row["prompt_tokens"], row["total_tokens"]) == ("estimated", 4, 8)


@pytest.mark.parametrize("variable", ["OPENAI_API_KEY", "MY_OWN_KEY"])
def test_a_bearer_key(desk: Desk, variable: str) -> None:
    """The key comes from the environment, reaches the service, and stays off disk and screen."""
    key = "sk-desk-7421-not-to-be-seen"
    with ScriptedServer(bearer=(key,)) as keyed:
        own = Desk(desk.path, keyed, {variable: key})
        own.rows(2)
        named = {} if variable == "OPENAI_API_KEY" else {"key_env": variable}
        own.job(service=service(own, "openai-chat", **named))
        done = own.type("run", "job.yaml")
        assert done.code == 0, done.err
        checked = own.type("check", "job.yaml")
        assert (checked.code, f"bearer key from {variable}" in checked.out) == (0, True)
        wrong = Desk(desk.path, keyed, {variable: key + "x"})
        refused = wrong.type("run", "job.yaml", "--fresh")
        assert refused.code == 5
        assert "invalid_iam_token" in refused.err
        shown = done.out + done.err + checked.out + checked.err + refused.out + refused.err
        assert key not in shown + own.texts()


def test_a_key_that_is_named_must_be_set(desk: Desk) -> None:
    """No other key is sent in place of the one that the job names."""
    desk.rows(1)
    desk.job(service=service(desk, "openai", key_env="MY_OWN_KEY"))
    desk.environ = {"OPENAI_API_KEY": "sk-other-0123456789"}
    done = desk.type("run", "job.yaml", "--quiet")
    assert (done.code, "MY_OWN_KEY is not set" in done.err) == (5, True)
