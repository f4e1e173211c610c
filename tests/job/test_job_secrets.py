"""Credentials in a job file: refused by key and by look, never repeated."""

from __future__ import annotations

from pathlib import Path

import pytest
from job_files import MINIMAL, load_text, problems_of

from qfbatch.errors import JobFileError

HEAD = "name: t\ninput: {path: r.jsonl, prompt: p}\nmodels: [{name: m, endpoint: e}]\n"  # three lines
PUT = "put it into the environment or .env as"


@pytest.mark.parametrize(
    ("key", "variable"),
    [
        ("access_key", "QIANFAN_ACCESS_KEY"),
        ("QIANFAN_ACCESS_KEY", "QIANFAN_ACCESS_KEY"),
        ("secret_key", "QIANFAN_SECRET_KEY"),
        ("secretKey", "QIANFAN_SECRET_KEY"),
        ("ak", "QIANFAN_AK"),
        ("QIANFAN_SK", "QIANFAN_SK"),
        ("api_key", "QIANFAN_BEARER_TOKEN"),
        ("X-Api-Key", "QIANFAN_BEARER_TOKEN"),
        ("some_api_key", "QIANFAN_BEARER_TOKEN"),
        ("apikey", "QIANFAN_BEARER_TOKEN"),
        ("token", "QIANFAN_ACCESS_TOKEN"),
        ("access_token", "QIANFAN_ACCESS_TOKEN"),
        ("accessToken", "QIANFAN_ACCESS_TOKEN"),
        ("bearer_token", "QIANFAN_BEARER_TOKEN"),
        ("password", "QIANFAN_SECRET_KEY"),
        ("Authorization", "QIANFAN_BEARER_TOKEN"),
        ("client_secret", "QIANFAN_SK"),
    ],
)
def test_keys_that_name_a_credential(tmp_path: Path, key: str, variable: str) -> None:
    """Wherever such a key stands, the message names line, key and the variable to use, not the value."""
    for text, spelled in (
        (f"{key}: hunter2", key),
        (f"service: {{{key}: hunter2}}", f"service.{key}"),
        (f"parameters: {{extra: {{deep: [{{{key}: hunter2}}]}}}}", f"parameters.extra.deep[0].{key}"),
        (f"retry: {{{key}: }}", f"retry.{key}"),
    ):
        message = f"a credential does not belong in the job file; {PUT} {variable}"
        assert problems_of(tmp_path, HEAD + text) == [f"line 4: {spelled}: {message}"]


@pytest.mark.parametrize(
    ("value", "variable"),
    [
        ("ALTAKhunter2hunter2", "QIANFAN_ACCESS_KEY"),
        ("bce-v3/ALTAK-hunter2/hunter2", "QIANFAN_BEARER_TOKEN"),
        ("bce-auth-v1/hunter2/2026-01-01", "QIANFAN_ACCESS_KEY and QIANFAN_SECRET_KEY"),
        ("sk-hunter2hunter2hunter2", "QIANFAN_BEARER_TOKEN"),
        ("Bearer hunter2", "QIANFAN_BEARER_TOKEN"),
        ("http://hunter2:x@host/", "QIANFAN_AK and QIANFAN_SK"),
        ("http://host/?access_token=hunter2", "QIANFAN_ACCESS_TOKEN"),
        ("http://host/?client_secret=hunter2", "QIANFAN_SK"),
    ],
)
def test_values_that_look_like_a_credential(tmp_path: Path, value: str, variable: str) -> None:
    """Wherever such a value stands, also from a variable or the command line, it is refused and not shown."""
    message = f"the value looks like a credential; {PUT} {variable}"
    for key in ("service: {base_url: %s}", "service: {auth: %s}", "parameters: {extra: {a: [%s]}}"):
        found = problems_of(tmp_path, HEAD + key % f"'{value}'")
        assert found == [f"line 4: {found[0].split(': ')[1]}: {message}"]
    found = problems_of(tmp_path, HEAD + "output: {path: '${OUT}'}", environ={"OUT": value})
    assert found == [f"line 4: output.path: {message}"]
    found = problems_of(tmp_path, HEAD, overrides=[f"output.path='{value}'"])
    assert found == [f"--set: output.path: {message}"]


def test_a_key_that_is_itself_a_credential(tmp_path: Path) -> None:
    """A secret written where a key belongs is not repeated either."""
    found = problems_of(tmp_path, HEAD + "service: {sk-hunter2hunter2hunter2: , sk-hunter2hunter2hunter2: x}")
    assert found == [
        "line 4: (not shown) is given twice; first on line 4",
        f"line 4: a key here looks like a credential; {PUT} QIANFAN_BEARER_TOKEN",
    ]


@pytest.mark.parametrize(
    "name",
    ["QIANFAN_SECRET_KEY", "QIANFAN_AK", "HF_TOKEN", "MY_API_KEY", "DB_PASSWORD", "TOKEN", "GATEWAY_KEY"],
)
def test_references_to_credentials(tmp_path: Path, name: str) -> None:
    """A variable that holds a credential is not read into the job, whether it is set or not."""
    refusal = (
        f"{name} names a credential, which would be copied into the run's records; leave it out of the "
        "job file: credentials are read from the environment or .env by themselves"
    )
    for environ in ({}, {name: "hunter2"}):
        for reference in (f"${{{name}}}", f"x-${{{name}:-y}}"):
            found = problems_of(tmp_path, HEAD + f"output: {{path: '{reference}'}}", environ=environ)
            assert found == [f"line 4: output.path: {refusal}"]


@pytest.mark.parametrize(
    "text",
    [
        "parameters: {extra: {stop_token: x, stop_token_ids: [1], max_tokens: 5, task: sk-short}}",
        "budget: {max_total_tokens: 5}",
        "output: {path: '${MAX_TOKENS:-task-force-of-many-words}'}",
        "service: {base_url: 'http://host/with@sign'}",
        "parameters: {user_id: the Bearer securities act}",
    ],
)
def test_words_that_only_sound_like_it(tmp_path: Path, text: str) -> None:
    """Prose, token counts and stop tokens are no credentials."""
    load_text(tmp_path, HEAD + text)


def test_the_hint_asks_to_replace_the_credential(tmp_path: Path) -> None:
    """What was in a file may have been shared."""
    with pytest.raises(JobFileError) as caught:
        load_text(tmp_path, MINIMAL + "service: {api_key: hunter2}\n")
    assert caught.value.hint == (
        "A credential that was ever committed or shared should be replaced at the service."
    )
    assert "hunter2" not in str(caught.value)
