"""docs/reference/ is what the code says."""

from __future__ import annotations

import pytest
from reference import FOLDER, pages
from reference.commands import command_named

from qfbatch.cli.main import COMMANDS

MADE = pages()


def test_no_page_is_left_over() -> None:
    """Every page of the reference is one that `make docs` writes."""
    assert sorted(path.name for path in FOLDER.iterdir()) == sorted(MADE)


@pytest.mark.parametrize("name", MADE)
def test_the_reference_is_current(name: str) -> None:
    """What the code says and what stands in docs/reference is the same; otherwise run `make docs`."""
    written = (FOLDER / name).read_text(encoding="utf-8")
    assert written == MADE[name], f"docs/reference/{name} is not what the code says: run `make docs`"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_says_what_it_does(command: str) -> None:
    """No option stands in the help and in the reference without a word."""
    options = [option for option in command_named(command).params if option.param_type_name == "option"]
    assert [option.name for option in options if not getattr(option, "help", None)] == []
