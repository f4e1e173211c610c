"""Whether a cluster's head answers: what is said of other listeners, and of a head that is lost."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from qfbatch.cluster import reach
from qfbatch.errors import UsageError

SETTINGS = b"\0\0\0\x04\0\0\0\0\0"


@contextmanager
def listener(answer: bytes | None) -> Iterator[str]:
    """The address of somebody who says this to whoever comes, or nothing and stays."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        ended = threading.Event()

        def serve() -> None:
            with suppress(OSError):
                connection, _ = server.accept()
                with connection:
                    if answer is None:
                        ended.wait(30)
                    else:
                        connection.recv(100)
                        connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"127.0.0.1:{server.getsockname()[1]}"
        ended.set()
        thread.join()


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "not Ray's head"),
        (b"", "not Ray's head"),
        (None, "does not answer"),
    ],
    ids=["dashboard", "hangs up", "silent"],
)
def test_who_is_not_a_head(answer: bytes | None, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another service at the address, or one that says nothing, is found out before Ray tries for minutes."""
    monkeypatch.setattr(reach, "PATIENCE_S", 0.3)
    with listener(answer) as address, pytest.raises(UsageError, match=said) as caught:
        reach.check_reachable(address, tls=False)
    assert address in caught.value.message
    assert "ray start" in caught.value.hint


@pytest.mark.parametrize("tls", [False, True])
def test_who_may_be_a_head(tls: bool) -> None:  # noqa: FBT001 - pytest gives it
    """Whoever speaks HTTP/2 is left to Ray; with TLS, which is not spoken here, whoever listens."""
    with listener(b"" if tls else SETTINGS) as address:
        reach.check_reachable(address, tls=tls)


@pytest.mark.parametrize("address", ["head", "head:", "head:port", "ray://head:10001", "127.0.0.1:99999"])
def test_what_is_no_address(address: str) -> None:
    """An address that is not HOST:PORT is refused by name."""
    with pytest.raises(UsageError, match=f"--ray {address}: no Ray cluster"):
        reach.check_reachable(address, tls=False)


def test_a_head_is_lost_when_it_is_silent_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """A head that fails to answer and comes back is not lost; one that stays away is."""
    monkeypatch.setattr(reach, "_GLANCE_S", 0.01)
    monkeypatch.setattr(reach, "HEAD_LOST_AFTER_S", 0.2)
    asked = iter([True, False, True, *[False] * 1000])
    asyncio.run(reach.until_lost(lambda: next(asked)))
    assert next(asked) is False
    assert 4 == reach.head_lost().exit_code


def run_with_ray(folder: Path, address: str, *, blocked: bool) -> subprocess.CompletedProcess[str]:
    """`qfbatch run --ray ADDRESS` as a process; without the package ray, if that is to be so."""
    (folder / "rows.jsonl").write_text('{"id": "a", "prompt": "b"}\n')
    job = {
        "name": "cluster",
        "input": {"path": "rows.jsonl", "id": "id", "prompt": "prompt"},
        "service": {"base_url": "http://127.0.0.1:9", "auth": "none"},
        "models": [{"name": "m", "endpoint": "e"}],
    }
    (folder / "job.yaml").write_text(json.dumps(job))
    if blocked:
        (folder / "sitecustomize.py").write_text("import sys\nsys.modules['ray'] = None\n")
    return subprocess.run(
        [sys.executable, "-m", "qfbatch", "run", "job.yaml", "--ray", address],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def test_without_the_package(tmp_path: Path) -> None:
    """Where ray is not installed, one message has the command that installs it, and nothing is begun."""
    ended = run_with_ray(tmp_path, "auto", blocked=True)
    assert (2, "") == (ended.returncode, ended.stdout)
    assert "pip install 'qfbatch[ray]'" in ended.stderr
    assert 2 == len(ended.stderr.splitlines()), ended.stderr
    assert not (tmp_path / "runs").exists()


def test_nobody_at_the_address(tmp_path: Path) -> None:
    """Where nobody listens, the run is refused with the address, before Ray begins to try for minutes."""
    pytest.importorskip("ray", reason="the extra `ray` is not installed")
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
    ended = run_with_ray(tmp_path, address, blocked=False)
    assert (2, "") == (ended.returncode, ended.stdout)
    assert f"--ray {address}: no Ray cluster can be reached there: Connection refused" in ended.stderr
    assert 2 == len(ended.stderr.splitlines()), ended.stderr
