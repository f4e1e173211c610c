"""`--ray local`: a cluster of this machine alone, which nobody else reaches, and of which nothing is left."""

from __future__ import annotations

import os
from pathlib import Path

import polars as pl
import pytest
from scripted import ScriptedServer

from .runs import Driver, command, sockets, tcp_sockets, write_job

pytest.importorskip("ray", reason="the extra `ray` is not installed")
pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]

ROWS = 400
LISTENS = "0A"  # the state in /proc/net/tcp
LOOPBACK = {"0100007F", "0000000000000000FFFF00000100007F", "00000000000000000000000001000000"}


def processes(session: int) -> list[int]:
    """All processes of a session."""
    found = []
    for path in Path("/proc").iterdir():
        if path.name.isdecimal():
            try:
                if os.getsid(int(path.name)) == session:
                    found.append(int(path.name))
            except OSError:
                continue
    return found


def listened_on(session: int) -> set[tuple[str, str]]:
    """What each process of a session is, and on which address it listens."""
    listening = tcp_sockets(LISTENS)
    return {
        (Path(command(pid).split(" ")[0]).name, listening[inode][0].partition(":")[0])
        for pid in processes(session)
        for inode in sockets(pid) & listening.keys()
    }


def test_it_is_on_loopback_alone(tmp_path: Path) -> None:
    """Neither the driver nor what it starts listens beyond loopback; none of it outlives the run."""
    with ScriptedServer() as server:
        endpoint = server.endpoint("echo,delay=0.1")
        job = write_job(
            tmp_path, server.base_url, endpoint, rows=ROWS, shard_rows=50, limits={"concurrency": 8}
        )
        with Driver(job, "local", "--ray-nodes", "2") as driver:
            session = driver.process.pid
            driver.until(lambda: len(server.calls(endpoint)) > ROWS // 4)
            found = listened_on(session)
            assert 0 == driver.end(), driver.said
    assert any("raylet" in name for name, _ in found), found
    assert any("gcs_server" in name for name, _ in found), found
    assert set() == {(name, address) for name, address in found if address not in LOOPBACK}
    assert ROWS == pl.read_parquet(tmp_path / "run" / "results" / "*.parquet")["row_id"].n_unique()
    assert [] == [command(pid) for pid in processes(session) if command(pid)]
