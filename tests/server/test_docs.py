"""The documentation of the scripted engine cannot fall behind it."""

from __future__ import annotations

from pathlib import Path

from qfbatch.cli.serve import command
from qfbatch.server.auth import ACCESS_KEY_VARIABLE, BEARER_KEYS_VARIABLE, SECRET_KEY_VARIABLE
from qfbatch.server.refusals import V2_ERRORS
from qfbatch.server.scripted.grammar import FAULT_KINDS, FLAGS, AnswerScript, Fault, Rules

PAGE = (Path(__file__).parents[2] / "docs" / "server.md").read_text(encoding="utf-8")


def test_every_word_of_the_grammar_is_documented() -> None:
    """Each fault, flag and option stands in docs/server.md."""
    options = {*Fault.__struct_fields__, *AnswerScript.__struct_fields__, *Rules.__struct_fields__}
    words = FAULT_KINDS | FLAGS | V2_ERRORS.keys() | options - {"kind", "number"}
    assert [word for word in sorted(words) if f"`{word}`" not in PAGE] == []


def test_every_option_is_documented() -> None:
    """Each option of `qfbatch serve` stands in docs/server.md."""
    names = [option for parameter in command.params for option in parameter.opts]
    assert [name for name in names if name not in PAGE] == []


def test_every_key_variable_is_documented() -> None:
    """The names of the keys to demand stand in the page and in the command's help."""
    names = [ACCESS_KEY_VARIABLE, SECRET_KEY_VARIABLE, BEARER_KEYS_VARIABLE]
    assert [name for name in names if name not in PAGE or name not in (command.help or "")] == []
