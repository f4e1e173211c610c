"""Rows of the last shards, worked by nodes that have no shard: counted at the nodes, and at the server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
from scripted import ScriptedServer

from .runs import write_job

pytest.importorskip("ray", reason="the extra `ray` is not installed")
from .in_process import LocalEngine, run_in_process

ROWS = 60


@pytest.fixture(scope="module")
def server() -> Iterator[ScriptedServer]:
    """The service."""
    with ScriptedServer() as running:
        yield running


def one_shard(folder: Path, server: ScriptedServer) -> tuple[Path, str]:
    """A job of a single shard, which one node owns; its file and endpoint."""
    endpoint = server.endpoint("echo,delay=0.1")
    limits = {"concurrency": 6}
    return write_job(folder, server.base_url, endpoint, rows=ROWS, shard_rows=ROWS, limits=limits), endpoint


def test_other_nodes_work_on_the_last_shard(
    tmp_path: Path, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nodes without a shard ask rows of the only one; its owner commits them, and no row is asked twice."""
    monkeypatch.chdir(tmp_path)
    job, endpoint = one_shard(tmp_path, server)
    engine = LocalEngine(3)
    assert 0 == run_in_process(job, engine, {}).exit_code
    worked = sorted(node.worked for node in engine.started)
    assert 0 == worked[0], "the owner's own rows are no loan"
    assert 0 < worked[1]
    assert ROWS // 4 <= sum(worked) < ROWS
    assert {(1, 1)} == set(server.calls(endpoint).values())
    assert ROWS == pl.read_parquet(tmp_path / "run" / "results" / "*.parquet")["row_id"].n_unique()


def test_a_lost_helper_costs_its_calls(
    tmp_path: Path, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When nodes are lost with rows they were lent, at most their calls are made again; the owner stays."""
    monkeypatch.chdir(tmp_path)
    job, endpoint = one_shard(tmp_path, server)
    engine = LocalEngine(3, lose_a_helper=True)
    assert 0 == run_in_process(job, engine, {}).exit_code
    lost = [node for node in engine.started if node.lost]
    assert 2 == len(lost)
    calls = server.calls(endpoint)
    assert ROWS == len(calls)
    assert sum(asked for asked, _ in calls.values()) - ROWS <= 6 * len(lost)
    claims = [path for path in (tmp_path / "run" / "log").glob("*/*.json") if b'"claim"' in path.read_bytes()]
    assert 1 == len(claims)
    assert ROWS == pl.read_parquet(tmp_path / "run" / "results" / "*.parquet")["row_id"].n_unique()
