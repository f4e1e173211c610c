"""Servers and desks shared by these tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from scripted import ScriptedServer

from cli.desk import OAUTH, Desk


@pytest.fixture(scope="session")
def keyed() -> Iterator[ScriptedServer]:
    """A scripted server that demands the keys of `OAUTH`."""
    with ScriptedServer(keys=(OAUTH["QIANFAN_AK"], OAUTH["QIANFAN_SK"])) as running:
        yield running


@pytest.fixture
def desk(tmp_path: Path, server: ScriptedServer) -> Desk:
    """A desk whose jobs ask the server that accepts any credentials."""
    return Desk(tmp_path, server)


@pytest.fixture
def keyed_desk(tmp_path: Path, keyed: ScriptedServer) -> Desk:
    """A desk whose jobs ask the server that demands keys."""
    return Desk(tmp_path, keyed)
