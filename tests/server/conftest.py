"""Servers shared by these tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from scripted import ScriptedServer

KEYS = ("test-access-key", "test-secret-key")
BEARER = ("bce-v3/ALTAK-test/one", "sk-test-two")


@pytest.fixture(scope="session")
def keyed() -> Iterator[ScriptedServer]:
    """A scripted server that demands `KEYS` or one of `BEARER`."""
    with ScriptedServer(keys=KEYS, bearer=BEARER) as running:
        yield running
