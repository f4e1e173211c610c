"""What holds for all tests: processes start from bytecode, an unknown marker is told, one server serves most.

The suite starts `qfbatch` some hundred times. Where the environment keeps Python from writing bytecode, each
of these processes would compile all of the package first: a fifth of what a short run costs.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator

import pytest
from scripted import ScriptedServer

os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

WORDS_OF_EXPRESSIONS = {"and", "or", "not", "True", "False", "None"}


def pytest_sessionstart(session: pytest.Session) -> None:
    """Refuse `-m` with an unknown marker here: pytest-xdist's workers end without a word on it.

    Raises:
        pytest.UsageError: the expression names no registered marker.
    """
    config = session.config
    known = {re.split(r"[:(]", line, maxsplit=1)[0].strip() for line in config.getini("markers")}
    # `name=value` behind a marker is of its arguments; pytest itself judges whether the expression is sound.
    named = re.findall(
        r"[^\W\d][\w.-]*(?!\s*=|[\w.-])", re.sub(r"'[^']*'|\"[^\"]*\"", "", config.option.markexpr)
    )
    unknown = [name for name in named if name not in known | WORDS_OF_EXPRESSIONS]
    if unknown:
        raise pytest.UsageError(
            f"-m: no marker is called {unknown[0]!r}; `pytest --markers` lists them, -m '' takes all tests."
        )


@pytest.fixture(scope="session")
def server() -> Iterator[ScriptedServer]:
    """A scripted server that accepts any credentials; tests keep apart by endpoints of their own."""
    with ScriptedServer() as running:
        yield running
