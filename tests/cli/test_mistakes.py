"""What new users get wrong: each mistake ends in one message that names it and says what to do."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cli.desk import Desk

INPUT = {"path": "rows.jsonl", "id": "id", "prompt": "prompt"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["runn", "job.yaml"], ["No such command 'runn'", "Did you mean 'run'?"]),
        (["job.yaml"], ["Did you mean 'qfbatch run job.yaml'?"]),
        (["run"], ["Missing argument 'JOB.yaml'"]),
        (["run", "job.yaml", "--retry"], ["--retry"]),
        (["run", "job.yaml", "--limit", "0"], ["0 is not in the range x>=1"]),
        (["run", "job.yaml", "--limit", "many"], ["'many' is not a valid integer"]),
        (["run", "none.yaml"], ["none.yaml", "no such file", "qfbatch init"]),
        (["run", "."], ["directory", "job file"]),
        (["run", "rows.jsonl"], ["rows.jsonl: this is input, not a job file", "qfbatch init rows.jsonl"]),
        (["plan", "rows.jsonl"], ["rows.jsonl: this is input, not a job file", "qfbatch init rows.jsonl"]),
        (["run", "job.yaml", "--set", "limits.qsp=2"], ['unknown key "qsp"; did you mean "qps"?']),
        (["run", "job.yaml", "--set", "limits.qps"], ["must be KEY=VALUE"]),
        (["report", "none"], ["none: there is no such run directory or job file"]),
        (["report", "job.yaml"], ["has not been run yet", "qfbatch run job.yaml"]),
        (["export", "job.yaml", "out.csv"], ["has not been run yet", "qfbatch run job.yaml"]),
    ],
)
def test_wrong_command_lines(desk: Desk, arguments: list[str], words: list[str]) -> None:
    """A wrong command line ends with 2, without a run directory, and says what to type."""
    desk.rows(1)
    desk.job()
    done = desk.type(*arguments)
    assert (done.code, done.out) == (2, "")
    for word in words:
        assert word in done.err
    assert not (desk.path / "runs").exists()


def test_a_run_directory_instead_of_its_job(desk: Desk) -> None:
    """`run` on a run directory names the job file that it belongs to."""
    desk.rows(1)
    desk.job()
    assert desk.type("run", "job.yaml").code == 0
    done = desk.type("run", "runs/desk")
    assert done.code == 2
    assert done.err == (
        "error: runs/desk: this is a run directory, not a job file\n"
        "Name the job file it was started with: job.yaml\n"
    )


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"retrys": {}}, 'line 22: unknown key "retrys"; did you mean "retry"?'),
        ({"models": []}, "models"),
        (
            {"input": {**INPUT, "template": "{prompt}"}},
            "give either input.prompt or input.template, not both",
        ),
        ({"parameters": {"temperature": 0}}, "temperature"),
        ({"limits": {"concurrency": 0}}, "limits.concurrency"),
        ({"service": {"base_url": "aip.baidubce.com"}}, "service.base_url"),
        ({"service": {"base_url": "local", "auth": "oath"}}, 'did you mean "oauth"?'),
        ({"service": {"access_key": "ALTAK-1234567890abcdef"}}, "access_key"),
    ],
)
def test_wrong_job_files(desk: Desk, sections: dict[str, Any], message: str) -> None:
    """A wrong job file ends with 2, names the field, and nothing is created."""
    desk.rows(1)
    desk.job(**sections)
    for command in ("run", "plan", "check"):
        done = desk.type(command, "job.yaml")
        assert (done.code, done.out) == (2, ""), done
        assert done.err.startswith("error: job.yaml: ")
        assert message in done.err, done.err
        assert "ALTAK-1234567890abcdef" not in done.err
    assert not (desk.path / "runs").exists()


def test_all_problems_of_a_job_file_at_once(desk: Desk) -> None:
    """Several problems are one message with a line each, in the file's order."""
    (desk.path / "job.yaml").write_text(
        "name: bad\ninput: {path: rows.jsonl, promt: prompt}\nmodels:\n- {name: m, endpoint: e, parameters: "
        "{top_p: 2}}\nlimits: {qps: fast}\n"
    )
    done = desk.type("run", "job.yaml")
    assert done.code == 2
    places = [tuple(part.strip() for part in line.split(":")[:2]) for line in done.err.splitlines()]
    assert places == [
        ("error", "job.yaml"),
        ("line 2", "input"),
        ("line 2", "input"),
        ("line 4", "models[0].parameters.top_p"),
        ("line 5", "limits.qps"),
    ]


def _absent(path: Path) -> None:
    path.unlink()


def _bad_line(path: Path) -> None:
    path.write_text('{"id": "a", "prompt": "x"}\n{"id": "b", "prompt": \n')


def _duplicate(path: Path) -> None:
    path.write_text('{"id": "a", "prompt": "x"}\n{"id": "a", "prompt": "y"}\n')


def _other_column(path: Path) -> None:
    path.write_text('{"id": "a", "promt": "x"}\n')


def _number(path: Path) -> None:
    path.write_text('{"id": "a", "prompt": 5}\n')


def _empty(path: Path) -> None:
    path.write_text("")


def _latin(path: Path) -> None:
    path.write_bytes('{"id": "a", "prompt": "caf\xe9"}\n'.encode("latin-1"))


def _parameters(path: Path) -> None:
    path.write_text('{"id": "a", "prompt": "x", "parameters": {"temperature": 3}}\n')


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_absent, "rows.jsonl: no such file or folder"),
        (_bad_line, "rows.jsonl:2: is not valid JSON"),
        (_duplicate, "rows.jsonl:2: id 'a' is already used at rows.jsonl:1"),
        (_other_column, "rows.jsonl:1: column 'prompt' is missing; did you mean 'promt'?"),
        (_number, "rows.jsonl:1: column 'prompt' must hold text, not a number"),
        (_empty, "rows.jsonl: holds no rows"),
        (_latin, "rows.jsonl:1: is not UTF-8"),
        (_parameters, "rows.jsonl:1: "),
    ],
)
def test_wrong_input(desk: Desk, spoil: Callable[[Path], None], message: str) -> None:
    """Wrong input ends with 3 before any call, with file and line; `check` and `plan` say the same."""
    spoil(desk.rows(1))
    endpoint = desk.job()
    ran = desk.type("run", "job.yaml")
    assert (ran.code, ran.out) == (3, "")
    assert message in ran.err
    assert desk.server.calls(endpoint) == {}
    for arguments in (["check", "job.yaml", "--offline"], ["plan", "job.yaml"]):
        done = desk.type(*arguments)
        assert (done.code, done.err) == (3, ran.err)


def test_a_run_after_wrong_input(desk: Desk) -> None:
    """Once the input is mended the same command runs: the failed start left nothing in its way."""
    _number(desk.rows(1))
    desk.job()
    assert desk.type("run", "job.yaml").code == 3
    desk.rows(3)
    done = desk.type("run", "job.yaml")
    assert done.code == 0, done.err
    assert desk.results().height == 3


def test_an_unset_variable(desk: Desk) -> None:
    """`${NAME}` without a value and without a default is a problem of the job file."""
    desk.rows(1)
    desk.job(models=[{"name": "m", "endpoint": "${DESK_ENDPOINT}"}])
    done = desk.type("run", "job.yaml")
    assert done.code == 2
    assert "DESK_ENDPOINT" in done.err
    desk.environ["DESK_ENDPOINT"] = desk.server.endpoint("echo")
    assert desk.type("run", "job.yaml").code == 0


def test_an_unreadable_manifest(desk: Desk) -> None:
    """A damaged manifest is exit 4 with its path, not a new run over the old one."""
    desk.rows(1)
    desk.job()
    assert desk.type("run", "job.yaml").code == 0
    (desk.path / "runs/desk/manifest.json").write_text(json.dumps({"no": "manifest"}))
    for command in ("run", "plan", "report"):
        done = desk.type(command, "job.yaml")
        assert done.code == 4
        assert "manifest.json" in done.err
