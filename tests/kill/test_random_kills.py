"""`qfbatch run` killed at seeded random moments; `make test-kill` does it for many more seeds."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from .campaign import WHOLE, Stages, fight, under_fire
from .workload import Workload

pytestmark = pytest.mark.slow

KINDS = ("slow", "retried", "broken", "refused")


@pytest.mark.parametrize(
    ("seed", "stages", "stream"),
    [
        pytest.param(1, WHOLE, False, id="whole"),
        pytest.param(2, [("--limit", "250"), (), ("--retry-failed",)], True, id="in-stages"),
    ],
)
def test_killed_at_random_moments(seed: int, stages: Stages, *, stream: bool, tmp_path: Path) -> None:
    """Killed again and again, the run ends as an uninterrupted one, and little is paid twice."""
    workload = Workload(
        seed=seed,
        rows=400,
        shard_rows=90,
        kinds=(*KINDS, "stubborn") if len(stages) > 1 else KINDS,
        parameters={"stream": True} if stream else {},
    )
    with under_fire(workload, tmp_path, stages=stages) as campaign:
        toll = fight(campaign, random.Random(seed), stages, kills=5 if stages is WHOLE else 2)
    assert toll.good, str(toll)
    assert toll.kills


def test_two_hundred_in_flight(tmp_path: Path) -> None:
    """With many calls in flight a kill throws away at most those and one group."""
    workload = Workload(
        rows=1200, shard_rows=300, concurrency=200, models={"one": "echo,delay=0.05"}, kinds=()
    )
    with under_fire(workload, tmp_path) as campaign:
        toll = fight(campaign, random.Random(3), WHOLE, kills=4)
    assert toll.good, str(toll)
    assert toll.kills
