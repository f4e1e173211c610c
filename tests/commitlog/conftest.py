"""The servers that whole runs need."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from scripted import ScriptedServer
from storage import s3_servers
from storage.conftest import moto, rclone, seaweedfs

__all__ = ["moto", "rclone", "seaweedfs"]


@pytest.fixture(scope="module")
def service() -> Iterator[ScriptedServer]:
    """A scripted service."""
    with ScriptedServer() as running:
        yield running


@pytest.fixture
def environ(moto: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """How the quick store is reached; processes started meanwhile inherit it."""
    variables = s3_servers.environment(moto)
    for name, text in variables.items():
        monkeypatch.setenv(name, text)
    return variables
