"""`qfbatch init` and `qfbatch schema`."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st

from qfbatch.cli.main import main
from qfbatch.job.document import SECTIONS, json_schema
from qfbatch.job.load import load_job
from qfbatch.job.settings import InputSettings
from qfbatch.job.starter import starter
from qfbatch.job.tree import Section
from qfbatch.job.yaml_lines import parse
from qfbatch.service.dialects import DIALECTS, dialect_named


def _run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def test_the_written_file_loads_with_all_defaults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without arguments `job.yaml` is written, names its schema, and loads as it stands."""
    monkeypatch.chdir(tmp_path)
    result = _run("init")
    assert (result.exit_code, result.stdout) == (0, "")
    assert (
        result.stderr == "wrote job.yaml; fill in input.path and the endpoint, then: qfbatch check job.yaml\n"
    )
    text = Path("job.yaml").read_text(encoding="utf-8")
    assert text.startswith("# yaml-language-server: $schema=job.schema.json\n")
    job = load_job(Path("job.yaml"), environ={})
    assert (job.name, job.warnings) == ("eval", ())


def test_every_key_is_mentioned() -> None:
    """Who starts from the file sees every key there is."""
    text = starter()
    keys = {key for model in SECTIONS.values() for key in model.model_fields}
    assert {key for key in keys if f"{key}:" not in text} == set()


@pytest.mark.parametrize("api", DIALECTS)
def test_what_is_commented_out_is_valid_too(tmp_path: Path, api: str) -> None:
    """Taking away the comment marks gives a job that loads, but for other ways to name the prompt."""
    lines = []
    for line in starter(api=api).splitlines():
        bare = line.lstrip()
        indent = line[: len(line) - len(bare)]
        key = bare.removeprefix("# ").split(":")[0]
        commented = bare.startswith("# ") and indent and key not in {"template", "messages", "system"}
        lines.append(indent + bare.removeprefix("# ") if commented else line)
    path = tmp_path / "job.yaml"
    path.write_text("\n".join(lines), encoding="utf-8")
    job = load_job(path, environ={})
    assert job.service.api == api
    assert job.service.base_url == dialect_named(api).access.base_url
    assert job.models[0].parameters["stop"] == ["\n\n"]
    assert job.budget.max_total_tokens == 1_000_000


def test_an_existing_file_is_not_overwritten(tmp_path: Path) -> None:
    """Without --force the file stays as it is, and the message says what to do."""
    path = tmp_path / "mine.yaml"
    path.write_text("mine", encoding="utf-8")
    result = _run("init", "--output", path)
    assert result.exit_code == 2
    assert result.stderr == (
        f"error: {path}: there is such a file already\n"
        "Give --force to overwrite it, or --output for another file.\n"
    )
    assert path.read_text(encoding="utf-8") == "mine"
    assert _run("init", "--output", path, "--force").exit_code == 0
    assert path.read_text(encoding="utf-8") == starter()


def test_a_dash_is_stdout() -> None:
    """`--output -` writes nothing but the text to stdout."""
    result = _run("init", "--output", "-")
    assert (result.exit_code, result.stdout, result.stderr) == (0, starter(), "")


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"id": 1, "prompt": "p", "topic": "t"}, {"id": "id", "prompt": "prompt"}),
        ({"uuid": "u", "question": "q"}, {"id": "uuid", "prompt": "question"}),
        ({"n": 1, "title": "a", "body": "b", "c": "c"}, {"template": "{title}\n{body}"}),
        ({"a{": "x"}, {"prompt": "a{"}),
        ({"n": 1}, {"prompt": "prompt"}),
        ({"null": "x"}, {"template": "{null}"}),
        ({"${HOME}": "x"}, {"prompt": "${HOME}"}),
    ],
)
@pytest.mark.parametrize("kind", ["ndjson", "jsonl.gz", "jsonl.zst", "parquet"])
def test_columns_of_the_data_fill_in_the_input(
    tmp_path: Path, row: dict[str, Any], expected: dict[str, Any], kind: str
) -> None:
    """Id and prompt are taken from the first row's columns, a template where no column is a prompt."""
    data = tmp_path / f"my rows.{kind}"
    line = b"\xef\xbb\xbf\n" + json.dumps(row).encode() + b"\n{broken\n"
    if kind == "parquet":
        pq.write_table(pa.Table.from_pylist([row, row]), data)
    else:
        packed = {"ndjson": line, "jsonl.gz": gzip.compress(line), "jsonl.zst": zstandard.compress(line)}
        data.write_bytes(packed[kind])
    output = tmp_path / "job.yaml"
    result = _run("init", data, "--output", output)
    assert result.exit_code == 0, result.output
    job = load_job(output, environ={})
    assert job.name == "my rows"
    assert job.input == InputSettings(paths=(data.as_posix(),), **expected)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("none.jsonl", None, "cannot be read: No such file or directory"),
        ("a.csv", b"a,b", "this kind of file is not supported"),
        ("a.csv", b"a,b", ".write_ndjson('"),
        ("a.jsonl", b"\n\n", "has no rows"),
        ("a.jsonl", b"{broken", "is not valid JSON"),
        ("a.jsonl", b"[1]", "must be a JSON object"),
        ("a.jsonl.gz", b"no gzip", "cannot be read: damaged"),
        ("a.jsonl.zst", b"no zstd", "cannot be read: damaged"),
        ("a.parquet", b"no parquet", "cannot be read: damaged"),
    ],
)
def test_data_that_cannot_be_read(tmp_path: Path, name: str, content: bytes | None, message: str) -> None:
    """Wrong data is an input error that names the file; no job file is written."""
    data = tmp_path / name
    if content is not None:
        data.write_bytes(content)
    result = _run("init", data, "--output", tmp_path / "job.yaml")
    assert (result.exit_code, message in result.stderr) == (3, True), result.output
    assert str(data) in result.stderr
    assert not (tmp_path / "job.yaml").exists()


@settings(deadline=10_000)
@given(
    st.text(max_size=30),
    st.dictionaries(st.text(max_size=8), st.text(max_size=3) | st.integers(), max_size=4),
)
def test_any_columns_give_yaml(name: str, row: dict[str, Any]) -> None:
    """Whatever columns and files are called, the text stays YAML of the same shape."""
    text = starter(name=name, row=row)
    root, problems = parse(text)
    assert problems == []
    assert isinstance(root, Section)
    assert list(root.nodes)[:2] == ["name", "input"]


def test_the_schema_is_printed() -> None:
    """`qfbatch schema` prints the JSON Schema and nothing else."""
    result = _run("schema")
    assert (result.exit_code, result.stderr) == (0, "")
    assert json.loads(result.stdout) == json_schema()


def test_the_schema_has_meanings_ranges_and_defaults() -> None:
    """Editors can show what a key means and refuse what a run would refuse."""
    schema = json_schema()
    definitions = schema["$defs"]
    assert schema["required"] == ["name", "input", "models"]
    ways = [{"required": ["prompt"]}, {"required": ["template"]}, {"required": ["messages"]}]
    assert definitions["InputSection"]["oneOf"] == ways
    reference = {"type": "string", "pattern": r"^\$\{[A-Za-z_][A-Za-z0-9_]*(:-[^}]*)?\}$"}
    assert definitions["RetrySection"]["properties"]["request_timeout"] == {
        "description": "longest duration of one attempt, seconds",
        "default": 60.0,
        "anyOf": [{"exclusiveMinimum": 0, "type": "number"}, reference],
    }
    assert definitions["ServiceSection"]["properties"]["api"]["anyOf"] == [
        {"enum": ["qianfan", "openai", "openai-chat"]},
        {"type": "string", "minLength": 1},
    ]
    sections = [schema, *definitions.values()]
    assert all(section["additionalProperties"] is False for section in sections)
    undescribed = [
        key
        for section in sections
        for key, value in section["properties"].items()
        if "description" not in value
    ]
    assert undescribed == []
