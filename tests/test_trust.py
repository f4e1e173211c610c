"""Which services keep their connections: when they are used twice, and when no more."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from qfbatch.transport.trust import STRIKES, WARY_S, Trust


def lost(trust: Trust, *, times: int, now: float = 0.0, service: str = "a") -> Trust:
    """So many connections of a service lost in their second use."""
    for _ in range(times):
        trust.lost(service, now)
    return trust


@pytest.mark.parametrize(
    ("history", "expected"),
    [
        (lambda _: None, (True, True)),
        (lambda trust: trust.left("a"), (True, False)),
        (lambda trust: trust.left("b"), (True, True)),
        (lambda trust: lost(trust, times=STRIKES - 1), (True, True)),
        (lambda trust: lost(trust, times=STRIKES), (False, False)),
        (lambda trust: lost(trust, times=STRIKES, service="b"), (True, True)),
    ],
)
def test_what_a_service_did_decides(history: Callable[[Trust], None], expected: tuple[bool, bool]) -> None:
    """A service that leaves after streams leaves then; one that loses calls again and again, always."""
    trust = Trust()
    history(trust)
    assert expected == (trust.keeps("a", 0.0, doubtful=False), trust.keeps("a", 0.0, doubtful=True))


def test_an_answer_forgives() -> None:
    """Losses with answers between them are chance."""
    trust = lost(Trust(), times=STRIKES - 1)
    trust.answered("a")
    assert lost(trust, times=STRIKES - 1).keeps("a", 0.0, doubtful=False)


def test_distrust_ends_and_returns_at_the_next_loss() -> None:
    """A restart is forgotten after a while; a service that always leaves costs one more call then."""
    trust = lost(Trust(), times=STRIKES)
    assert not trust.keeps("a", WARY_S - 1, doubtful=False)
    assert trust.keeps("a", WARY_S, doubtful=False)
    assert not lost(trust, times=1, now=WARY_S).keeps("a", WARY_S, doubtful=False)
