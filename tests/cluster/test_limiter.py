"""The limiter at its edges: nodes that have left and report all the same, and a limiter that is no good."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from qfbatch.cluster.limiter import Limiter
from qfbatch.errors import UsageError
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

    monkeypatch.chdir(tmp_path)
    (tmp_path / "rows.jsonl").write_text('{"id": "a", "prompt": "b"}\n')
    job = {
        "input": {"path": "rows.jsonl", "id": "id", "prompt": "prompt"},
        "service": {"base_url": "http://127.0.0.1:9", "auth": "none"},
        "models": [{"name": "m", "endpoint": "e"}],
        "output": {"path": "run"},
    }
    (tmp_path / "job.yaml").write_text(json.dumps({"name": "limiter", **job}))
    result = run_in_process(tmp_path / "job.yaml", Elsewhere(2), {})
    assert 2 == result.exit_code
    assert result.reason is not None
    assert "the machine of the limiter has qfbatch 0" in result.reason.message
