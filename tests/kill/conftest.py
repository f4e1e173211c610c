"""A scripted server with a ledger, shared by tests that keep apart by an endpoint of their own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from scripted import ScriptedServer

from .ledger import Ledger


@pytest.fixture(scope="session")
def ledger_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the shared server notes what was paid."""
    return tmp_path_factory.mktemp("paid") / "paid.jsonl"


@pytest.fixture(scope="session")
def server(ledger_file: Path) -> Iterator[ScriptedServer]:
    """The shared server."""
    with ScriptedServer(ledger=ledger_file) as running:
        yield running


@pytest.fixture
def ledger(server: ScriptedServer, ledger_file: Path) -> Iterator[Ledger]:
    """What was paid since the test began."""
    with closing(Ledger(ledger_file)) as opened:
        yield opened
