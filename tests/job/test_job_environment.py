"""`.env` under the process's environment."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from qfbatch.errors import UsageError
from qfbatch.job.environment import environment


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    """What is exported beats what is written; both are there."""
    (tmp_path / ".env").write_text("A=file\nB='quoted # text'\nexport C=3\n", encoding="utf-8")
    assert environment(tmp_path, {"A": "own", "D": "4"}) == {
        "A": "own",
        "B": "quoted # text",
        "C": "3",
        "D": "4",
    }


def test_nothing_is_expanded_and_nothing_leaks(tmp_path: Path) -> None:
    """A `$` in a secret stays, and the process's own environment is not touched."""
    (tmp_path / ".env").write_text("QFBATCH_TEST_SECRET=a${HOME}$b\n", encoding="utf-8")
    assert environment(tmp_path, {}) == {"QFBATCH_TEST_SECRET": "a${HOME}$b"}
    assert "QFBATCH_TEST_SECRET" not in os.environ


def test_malformed_lines_are_passed_over_in_silence(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """Lines that assign nothing are skipped, and their text is shown nowhere."""
    text = "\ufeffGOOD=1\nhunter2 hunter2\n=hunter2\nNAME_ONLY\n'hunter2\nLAST=2\n"
    (tmp_path / ".env").write_text(text, encoding="utf-8")
    assert environment(tmp_path, {}) == {"GOOD": "1", "LAST": "2"}
    captured = capfd.readouterr()
    assert "hunter2" not in captured.out + captured.err + caplog.text


def test_no_file_is_no_matter(tmp_path: Path) -> None:
    """Without `.env`, or with a directory of that name, there is just the environment."""
    assert environment(tmp_path, {"A": "1"}) == {"A": "1"}
    (tmp_path / ".env").mkdir()
    assert environment(tmp_path, {"A": "1"}) == {"A": "1"}


def test_a_file_in_another_encoding_is_said(tmp_path: Path) -> None:
    """A `.env` that would give wrong secrets is refused rather than guessed."""
    (tmp_path / ".env").write_bytes(b"A=\xff\n")
    with pytest.raises(UsageError) as caught:
        environment(tmp_path, {})
    assert str(caught.value) == f"{tmp_path / '.env'}: is not UTF-8 text\nSave it as UTF-8."
