"""The limiter at its edges: nodes that have left and report all the same, and a limiter that is no good."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from qfbatch.cluster import leases
from qfbatch.cluster.limiter import Dealt, Limiter
from qfbatch.errors import UsageError
from qfbatch.flow.runner import RunResult
from qfbatch.limits.quota import Quota
from qfbatch.limits.shares import Usage

pytest.importorskip("ray", reason="the extra `ray` is not installed")
from .in_process import LocalEngine, run_in_process

QUOTA = Quota(concurrency=4, qps=1.0, adaptive=False)


def test_who_has_left_holds_nothing() -> None:
    """A node that was given up and reports all the same gets nothing, keeps nothing, and holds nobody up."""
    limiter = Limiter(again=False, nodes=2)
    hungry = {"run": (QUOTA, Usage(in_flight=4, peak=4, waiting=True))}
    assert limiter.exchange("zombie", hungry).leases["run"].concurrency
    limiter.leave("zombie")
    assert {} == limiter.exchange("zombie", hungry).leases
    wanting = {"run": (QUOTA, Usage(waiting=True, peak=4))}
    alone = Limiter(again=False, nodes=2).exchange("heir", wanting)
    assert alone.leases == limiter.exchange("heir", wanting).leases
    assert 4 == alone.leases["run"].concurrency


def test_a_limiter_that_is_no_good_stops_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the limiter is of another version, the run ends with this, instead of waiting for shares."""

    class Elsewhere(LocalEngine):
        """A cluster whose limiter is on a machine with another version."""

        async def check_limiter(self) -> None:
            """As `Engine.check_limiter`."""
            raise UsageError("the machine of the limiter has qfbatch 0, the driver 1")

    result = _run(tmp_path, monkeypatch, Elsewhere(2))
    assert 2 == result.exit_code
    assert result.reason is not None
    assert "the machine of the limiter has qfbatch 0" in result.reason.message


def test_a_limiter_that_is_gone_for_good_ends_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no report reaches the limiter for long, the run ends and says why; it does not hang."""

    class Broken(Limiter):
        """A limiter that nobody reaches."""

        def exchange(self, node: str, usages: Mapping[str, tuple[Quota, Usage]]) -> Dealt:
            """As `Limiter.exchange`."""
            raise RuntimeError("Traceback\n  a long one\nits machine is gone")

    class Without(LocalEngine):
        """A cluster with such a limiter."""

        def start_limiter(self, run: str) -> None:
            """As `Engine.start_limiter`."""
            del run
            self.limiter = Broken(again=False, nodes=self.nodes)

    monkeypatch.setattr(leases, "LOST_AFTER_S", 0.1)
    result = _run(tmp_path, monkeypatch, Without(2))
    assert (4, 1) == (result.exit_code, result.left)
    assert result.reason is not None
    assert "the limiter has not been reached for 0.1 s: its machine is gone" == result.reason.message
    assert "run the same command again" in result.reason.hint


def _run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: LocalEngine) -> RunResult:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rows.jsonl").write_text('{"id": "a", "prompt": "b"}\n')
    job = {
        "input": {"path": "rows.jsonl", "id": "id", "prompt": "prompt"},
        "service": {"base_url": "http://127.0.0.1:9", "auth": "none"},
        "models": [{"name": "m", "endpoint": "e"}],
        "output": {"path": "run"},
    }
    (tmp_path / "job.yaml").write_text(json.dumps({"name": "limiter", **job}))
    return run_in_process(tmp_path / "job.yaml", engine, {})
