"""docs/reference/ is what the code says."""

from __future__ import annotations

import pytest
from reference import FOLDER, PAGES, pages
from reference.commands import command_named

from qfbatch.cli.main import COMMANDS

NAMES = [*PAGES, "README.md"]


@pytest.fixture(scope="module")
def made() -> dict[str, str]:
    """What `make docs` would write now."""
    return pages()


def test_no_page_is_left_over(made: dict[str, str]) -> None:
    """Every page of the reference is one that `make docs` writes."""
    assert sorted(path.name for path in FOLDER.iterdir()) == sorted(made) == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_the_reference_is_current(name: str, made: dict[str, str]) -> None:
    """What the code says and what stands in docs/reference is the same; otherwise run `make docs`."""
    written = (FOLDER / name).read_text(encoding="utf-8")
    assert written == made[name], f"docs/reference/{name} is not what the code says: run `make docs`"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_says_what_it_does(command: str) -> None:
    """No option stands in the help and in the reference without a word."""
    options = [option for option in command_named(command).params if option.param_type_name == "option"]
    assert [option.name for option in options if not getattr(option, "help", None)] == []
