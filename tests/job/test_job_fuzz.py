"""Whatever a job file holds: a job or a JobFileError, soon."""

from __future__ import annotations

import tempfile
from pathlib import Path

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from job_files import MINIMAL, SAMPLE, load_text

from qfbatch.errors import JobFileError

SOON = settings(deadline=10_000)  # milliseconds: against a hang, not against a busy machine
_KEYS = [
    "name",
    "input",
    "path",
    "id",
    "prompt",
    "template",
    "columns",
    "shard_rows",
    "service",
    "api",
    "base_url",
    "auth",
    "models",
    "endpoint",
    "parameters",
    "price",
    "limits",
    "unit_hour",
    "currency",
    "units",
    "temperature",
    "stop",
    "extra",
    "retry",
    "retry_count",
    "retry_err_codes",
    "concurrency",
    "qps",
    "budget",
    "max_cost",
    "output",
    "api_key",
]
_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
    | st.sampled_from(["${A}", "${B:-5}", "local", "http://h", "s3://x", "{q}", "CNY", "${SECRET}", "x${"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(_KEYS), inner, max_size=4),
    max_leaves=20,
)
_fragments = st.sampled_from(
    [
        "a: ",
        "- ",
        "\n",
        "  ",
        "[",
        "]",
        "{",
        "}",
        "&a ",
        "*a",
        "<<: ",
        "${A}",
        "'",
        '"',
        "|\n",
        "!!int ",
        "---\n",
        "? ",
        "\\u",
        "\\UFFFFFFFF",
        "%YAML 1.1\n",
        "# x\n",
        "\t",
        "0x",
        "1e999",
        ".inf",
        "\0",
        "\ufeff",
        ": ",
        ",",
        "@",
    ]
)


def _loads_or_is_refused(content: str | bytes, overrides: tuple[str, ...] = ()) -> None:
    with tempfile.TemporaryDirectory() as directory:
        problems: tuple[str, ...] = ()
        try:
            load_text(Path(directory), content, environ={"A": "1", "SECRET": "hunter2"}, overrides=overrides)
        except JobFileError as error:
            problems = error.problems or ("refused without a reason\n",)
        assert [problem for problem in problems if not problem.isprintable() or "hunter2" in problem] == []


@SOON
@given(st.binary(max_size=300))
def test_any_bytes(content: bytes) -> None:
    """Bytes that nobody meant as a job file are refused as one."""
    _loads_or_is_refused(content)


@SOON
@given(st.lists(_fragments | st.text(max_size=5), max_size=30).map("".join))
def test_any_text_like_yaml(text: str) -> None:
    """Pieces of YAML in any order never get past the reader as anything but a tree or a problem."""
    _loads_or_is_refused(text.encode(errors="surrogatepass"))


@SOON
@given(st.dictionaries(st.sampled_from(_KEYS), _values, max_size=6))
def test_any_values_under_known_keys(document: dict[str, object]) -> None:
    """Known keys with values of any kind are judged without a traceback."""
    _loads_or_is_refused(yaml.safe_dump(document, allow_unicode=True))


@SOON
@given(st.integers(0, len(SAMPLE)), st.integers(0, 40), _fragments | st.text(max_size=3))
def test_a_damaged_sample(start: int, length: int, piece: str) -> None:
    """A good file with something cut out and something put in."""
    damaged = SAMPLE[:start] + piece + SAMPLE[start + length :]
    _loads_or_is_refused(damaged.encode(errors="surrogatepass"))


@SOON
@given(st.text(max_size=20), _fragments | st.text(max_size=8))
def test_any_override(key: str, value: str) -> None:
    """Overrides come from people and scripts alike."""
    _loads_or_is_refused(MINIMAL, (f"{key}={value}", key, f"models.{key}={value}", f"limits.{value}={key}"))


@SOON
@given(st.sampled_from(["[", "{a: ", "- ", "? ", "!a ", "&a ", "*a ", "${", "a: &a ", "'", "|\n "]))
def test_long_repetitions_end_soon(piece: str) -> None:
    """Nothing repeated makes reading slow or deep."""
    _loads_or_is_refused("a: " + piece * 20_000)
