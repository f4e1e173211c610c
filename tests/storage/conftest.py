"""One server of each kind for all tests that want it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from . import s3_servers


@pytest.fixture(scope="session")
def moto() -> Iterator[str]:
    """The address of a moto server with a bucket."""
    with s3_servers.moto() as url:
        yield url


@pytest.fixture(scope="session")
def seaweedfs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a SeaweedFS server with a bucket."""
    with s3_servers.seaweedfs(tmp_path_factory.mktemp("seaweedfs")) as url:
        yield url


@pytest.fixture(scope="session")
def rclone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of an rclone server with a bucket; it ignores preconditions."""
    with s3_servers.rclone(tmp_path_factory.mktemp("rclone")) as url:
        yield url
