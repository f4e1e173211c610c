"""The pass over the whole input before any call."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from qfbatch.reader import RowError, row_parameters, survey
from qfbatch.records import InputColumn, Shard, SourceFile, Survey

from .inputs import ROWS, jsonl, read_all, refused, settings, write

OTHER_PROMPT = "Correct these rows, or `input.prompt` in the job."
OTHER_ID = "Correct these rows, or `input.id` in the job; without it rows are known by file and line."


def test_what_a_survey_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files with sizes and digests, shards with places, columns with kinds, counts and the estimate."""
    monkeypatch.chdir(tmp_path)
    text = jsonl([{"id": 1, "prompt": "a b", "x": 1}, {"id": "2", "prompt": "你", "y": "z"}])
    Path("a.jsonl").write_bytes(text)
    Path("b.jsonl").write_bytes(b"\n" + jsonl([{"id": -3, "prompt": "c", "x": 1.5}]))
    progress: list[tuple[int, int]] = []
    found = survey(settings("a.jsonl", "b.jsonl", shard_rows=1), on_progress=lambda *p: progress.append(p))
    second = text.index(b"\n") + 1
    files = [Path("a.jsonl"), Path("b.jsonl")]
    sizes = [file.stat().st_size for file in files]
    assert found == Survey(
        files=tuple(
            SourceFile(
                file.name,
                str(file.absolute()),
                file.stat().st_size,
                file.stat().st_mtime_ns,
                hashlib.sha256(file.read_bytes()).hexdigest(),
                rows,
            )
            for file, rows in zip(files, (2, 1), strict=True)
        ),
        shards=(
            Shard(0, "a.jsonl", 1, 1, 0, 3),
            Shard(1, "a.jsonl", 2, 1, second, 1),
            Shard(2, "b.jsonl", 2, 1, 1, 2),
        ),
        columns=(InputColumn("x", "float64"), InputColumn("y", "string")),
        rows=3,
        estimated_prompt_tokens=3 + 1 + 2,
    )
    assert sorted(progress) == progress
    assert progress[-1] == (sum(sizes), sum(sizes))


@pytest.mark.parametrize(
    ("limit", "rows", "names"), [(1, 1, ["a"]), (3, 3, ["a", "b"]), (9, 4, ["a", "b", "c"])]
)
def test_only_the_first_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int, rows: int, names: list[str]
) -> None:
    """Rows within the limit are checked and counted; what comes after them may be wrong, or no row at all."""
    monkeypatch.chdir(tmp_path)
    Path("a.jsonl").write_bytes(jsonl([{"prompt": "a b"}, {"prompt": "c"}]))
    Path("b.jsonl").write_bytes(jsonl([{"prompt": "d"}]) + (b"" if limit > 3 else b"nonsense\n"))
    Path("c.jsonl").write_bytes(jsonl([{"prompt": "e"}] if limit > 3 else []))
    found = survey(settings("a.jsonl", "b.jsonl", "c.jsonl", id=None, shard_rows=2), limit=limit)
    assert (rows, names) == (found.rows, [file.name.removesuffix(".jsonl") for file in found.files])
    assert rows == sum(shard.rows for shard in found.shards)


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["a", None, "b"], "string"),
        ([None, None], "string"),
        ([True, None, False], "bool"),
        ([1, None, -(2**63)], "int64"),
        ([2**63 - 1, 2**53 + 1], "int64"),
        ([1, 2**63], "json"),
        ([-(2**63) - 1], "json"),
        ([10**30], "json"),
        ([1.5, None], "float64"),
        ([1, 1.5], "float64"),
        ([2**53, 1.5], "float64"),
        ([2**53 + 1, 1.5], "json"),
        ([1, True], "json"),
        ([1, "1"], "json"),
        ([[1], None], "json"),
        ([{"a": 1}], "json"),
        (["a", {}], "json"),
    ],
)
@pytest.mark.parametrize("alike", [True, False])
def test_the_kind_of_a_column(tmp_path: Path, values: list[Any], kind: str, alike: bool) -> None:  # noqa: FBT001 - a case, not a switch
    """One kind fits all values of the whole input, not the first ones; whatever the rows' other columns."""
    rows = [{"prompt": "p", "v": value, **({} if alike else {f"w{n}": n})} for n, value in enumerate(values)]
    (tmp_path / "in.jsonl").write_bytes(jsonl(rows))
    found = survey(settings(tmp_path / "in.jsonl", id=None))
    assert found.columns[0] == InputColumn("v", kind)


def test_carried_columns(tmp_path: Path) -> None:
    """All but prompt, id and parameters by default; exactly the named ones, in their order, when named."""
    rows = [{"prompt": "p", "id": "1", "parameters": None, "b": 1}, {"prompt": "p", "id": "2", "a": "x"}]
    (tmp_path / "in.jsonl").write_bytes(jsonl(rows))
    job = settings(tmp_path / "in.jsonl")
    assert [column.name for column in survey(job).columns] == ["b", "a"]
    named = settings(tmp_path / "in.jsonl", columns=("a", "id", "prompt", "parameters", "a"))
    assert [column.name for column in survey(named).columns] == ["a", "id", "prompt", "parameters"]
    template = settings(tmp_path / "in.jsonl", prompt=None, template="{prompt}", id=None)
    assert [column.name for column in survey(template).columns] == ["prompt", "id", "b", "a"]
    misspelt = settings(tmp_path / "in.jsonl", columns=("B2", "ids"))
    expected = "input.columns: column 'B2' is missing; there are 'prompt', 'id', 'parameters', 'b', 'a'"
    assert refused(misspelt) == expected


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b'{"id": "x", "prompt": "p"', "is not valid JSON: Expecting ',' delimiter at character 26"),
        (b"prompt", "is not valid JSON: Expecting value at character 1"),
        (b"[1]", 'must be a JSON object, like {"prompt": "…"}'),
        (b"12", 'must be a JSON object, like {"prompt": "…"}'),
        (b'{"id": "x", "prompt": "\xff"}', "is not UTF-8 (byte 24 of the line)\nSave the file as UTF-8."),
        (b"\xff\xfe{\0}\0", "is UTF-16, not UTF-8\nSave the file as UTF-8."),
        (
            b'{"id": "x", "prompt": "\\ud800"}',
            "is not valid JSON: half a character (a lone surrogate such as \\ud800)",
        ),
        (
            b'{"id": "x", "prompt": "p", "n": NaN}',
            "is not valid JSON: NaN is no number in JSON\nWrite null instead.",
        ),
        (
            b'{"id": "x", "prompt": "p", "n": [1, {"m": 1e999}]}',
            "column 'n' holds a number that is too large\nWrite it as a string.",
        ),
        (
            b'{"id": "x", "prompt": "p", "n": ' + b"1" * 5000 + b"}",
            "holds a number with too many digits\nWrite it as a string.",
        ),
        (b'{"id": "x", "prompt": "p", "n": ' + b"[" * 100_000, "is nested too deeply"),
        (b"\0\0\0", "is not valid JSON: Expecting value at character 1"),
        (b'{"id": "x"}', f"column 'prompt' is missing; there are 'id'\n{OTHER_PROMPT}"),
        (b'{"id": "x", "prompt": 7}', f"column 'prompt' must hold text, not a number\n{OTHER_PROMPT}"),
        (b'{"id": "x", "prompt": " "}', f"the prompt is empty\n{OTHER_PROMPT}"),
        (b'{"prompt": "p"}', f"id: column 'id' is missing; there are 'prompt'\n{OTHER_ID}"),
        (
            b'{"id": null, "prompt": "p"}',
            f"id: column 'id' must hold text or a whole number, not null\n{OTHER_ID}",
        ),
        (
            b'{"id": "", "prompt": "p"}',
            f"id: column 'id' must hold text or a whole number, not empty text\n{OTHER_ID}",
        ),
        (
            b'{"id": 1.0, "prompt": "p"}',
            f"id: column 'id' must hold text or a whole number, not a fraction\n{OTHER_ID}",
        ),
        (
            b'{"id": true, "prompt": "p"}',
            f"id: column 'id' must hold text or a whole number, not a boolean\n{OTHER_ID}",
        ),
        (
            b'{"id": "x", "prompt": "p", "parameters": [1]}',
            "column 'parameters' must hold an object or null, not a list",
        ),
        (
            b'{"id": "x", "prompt": "p", "parameters": {"top_p": 7}}',
            "column 'parameters': top_p: at most 1",
        ),
        (b'{"id": "a", "prompt": "p"}', f"id 'a' is already used at FILE:1\n{OTHER_ID}"),
    ],
)
def test_one_wrong_row(tmp_path: Path, line: bytes, message: str) -> None:
    """Each is one message with file and line, whatever the rows around it."""
    file = tmp_path / "in.jsonl"
    file.write_bytes(jsonl(ROWS) + line + b"\n" + jsonl([{"id": "z", "prompt": "last"}]))

    def check(parameters: Mapping[str, Any]) -> list[str]:
        return ["top_p: at most 1"] if parameters.get("top_p") == 7 else []

    with pytest.raises(Exception) as caught:  # noqa: PT011 - the class is compared with the message
        survey(settings(file), check_parameters=check)
    expected = f"InputError: {file}:4: {message.replace('FILE', str(file))}"
    assert f"{type(caught.value).__name__}: {caught.value}" == expected


def test_several_problems_at_once(tmp_path: Path) -> None:
    """All of them in one message, in the order of the lines, with each next step once."""
    file, empty = tmp_path / "in.jsonl", tmp_path / "empty.parquet"
    file.write_bytes(b'{"id": "a", "prompt": "p"}\nx\n{"id": "a"}\n\xff\n\xff\n')
    write(empty, [])
    expected = (
        "6 problems in the input:\n"
        f"  {file}:2: is not valid JSON: Expecting value at character 1\n"
        f"  {file}:3: column 'prompt' is missing; there are 'id'\n"
        f"  {file}:4: is not UTF-8 (byte 1 of the line)\n"
        f"  {file}:5: is not UTF-8 (byte 1 of the line)\n"
        f"  {empty}: column 'prompt' is missing; there are no columns\n"
        f"  {file}:3: id 'a' is already used at {file}:1\n"
        f"{OTHER_PROMPT} Save the file as UTF-8. {OTHER_ID}"
    )
    assert refused(settings(file, empty)) == expected


def test_twenty_problems_are_enough(tmp_path: Path) -> None:
    """A wrong column name does not print a line for every row, and the rest is not read."""
    file = tmp_path / "in.jsonl"
    file.write_bytes(jsonl([{"promt": "p"}] * 1000))
    expected = (
        "20 problems in the input, and what follows was not looked at:\n"
        f"  {file}:1: column 'prompt' is missing; did you mean 'promt'?\n"
        f"    and 19 more rows alike, up to {file}:20\n"
        f"{OTHER_PROMPT}"
    )
    assert refused(settings(file, id=None)) == expected


@pytest.mark.parametrize("name", ["in.jsonl", "in.jsonl.gz", "in.jsonl.zst", "in.parquet"])
def test_an_empty_file(tmp_path: Path, name: str) -> None:
    """A file without rows is an error, also beside others that have some."""
    write(tmp_path / "full.jsonl", ROWS)
    write(tmp_path / name, ROWS[:0])
    job = settings(tmp_path / "full.jsonl", tmp_path / name)
    if name == "in.parquet":  # written without rows it has no columns either
        assert refused(job) == f"{tmp_path / name}: column 'prompt' is missing; there are no columns"
        return
    assert refused(job) == f"{tmp_path / name}: holds no rows\nRemove it from `input.path`."
    (tmp_path / name).write_bytes(b"")
    assert refused(job) == f"{tmp_path / name}: holds no rows\nRemove it from `input.path`."


def test_an_endless_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is one large document is refused before it fills the memory."""
    monkeypatch.setattr("qfbatch.reader.jsonl.MAX_LINE_BYTES", 2**20)
    (tmp_path / "in.jsonl").write_bytes(jsonl(ROWS) + b"[" + b"1," * 2**20)
    expected = (
        f"{tmp_path / 'in.jsonl'}:4: the line is longer than 1 MiB\n"
        "JSONL holds one JSON object a line; is this file one large JSON document?"
    )
    assert refused(settings(tmp_path / "in.jsonl")) == expected


def test_large_rows(tmp_path: Path) -> None:
    """A prompt of 1 MB, 10,000 columns and text of every plane come through as they are."""
    rows: list[dict[str, Any]] = [
        {"id": "long", "prompt": "x" * 2**20},
        {"id": "wide", "prompt": "p", **{f"c{n}": n for n in range(10_000)}},
        {"id": "planes", "prompt": "".join(chr(plane * 0x10000 + 0x41) for plane in range(17)) + "\0"},
    ]
    for suffix in ("jsonl", "jsonl.gz"):
        write(tmp_path / f"in.{suffix}", rows)
        job = settings(tmp_path / f"in.{suffix}", shard_rows=1)
        assert [row.columns for row in read_all(job)] == rows
        assert len(survey(job).columns) == 10_000
    write(tmp_path / "in.parquet", rows)
    columns = [row.columns for row in read_all(settings(tmp_path / "in.parquet", shard_rows=1))]
    assert [{name: value for name, value in row.items() if value is not None} for row in columns] == rows


def test_more_columns_than_a_table_can_have(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Data used as column names is told apart from columns, unless the job names the columns it wants."""
    monkeypatch.setattr("qfbatch.reader.kinds.MAX_COLUMNS", 100)
    write(tmp_path / "in.jsonl", [{"id": n, "prompt": "p", f"c{n}": 1} for n in range(200)])
    expected = (
        "the input has more than 100 different columns\n"
        "Name the ones to carry into the results in `input.columns`."
    )
    assert refused(settings(tmp_path / "in.jsonl")) == expected
    named = settings(tmp_path / "in.jsonl", columns=("c150",))
    assert survey(named).columns == (InputColumn("c150", "int64"),)


def test_row_parameters() -> None:
    """An object's fields that are not null; nothing where there is none."""
    assert row_parameters({}) == {}
    assert row_parameters({"parameters": None}) == {}
    given = {"top_p": None, "stop": ["x"], "extra": {"seed": None}}
    assert row_parameters({"parameters": given}) == {"stop": ["x"], "extra": {"seed": None}}
    with pytest.raises(RowError) as caught:
        row_parameters({"parameters": json.dumps({})})
    assert str(caught.value) == "column 'parameters' must hold an object or null, not text"


def test_a_file_that_changes_meanwhile(tmp_path: Path) -> None:
    """A survey that could not have seen one state of the file says so."""
    file = tmp_path / "in.jsonl"
    write(file, ROWS)

    def touch(done: int, total: int) -> None:
        with file.open("ab") as out:
            out.write(b"\n")

    with pytest.raises(Exception, match="changed while it was being read") as caught:
        survey(settings(file), on_progress=touch)
    assert str(caught.value) == f"{file}: changed while it was being read"
