"""The servers that whole runs need."""

from __future__ import annotations

import pytest
from scripted import ScriptedServer
from storage import s3_servers
from storage.conftest import moto, rclone, seaweedfs

__all__ = ["moto", "rclone", "seaweedfs"]


@pytest.fixture(scope="session")
def service(server: ScriptedServer) -> ScriptedServer:
    """A scripted service."""
    return server


@pytest.fixture
def environ(moto: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """How the quick store is reached; processes started meanwhile inherit it."""
    variables = s3_servers.environment(moto)
    for name, text in variables.items():
        monkeypatch.setenv(name, text)
    return variables
