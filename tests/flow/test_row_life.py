"""One row's life: what its attempts, credentials and failures make of it."""

from __future__ import annotations

import asyncio
import random

import msgspec
import pytest

from qfbatch.breaker import Breaker, BreakerPolicy
from qfbatch.flow import worker
from qfbatch.flow.admission import Admission, Passage
from qfbatch.flow.routing import Route, Target
from qfbatch.flow.stopping import Stop, address
from qfbatch.flow.surroundings import Surroundings
from qfbatch.flow.worker import work
from qfbatch.job.settings import EndpointSettings, ModelSettings, ServiceSettings
from qfbatch.limits.gate import Gate
from qfbatch.limits.quota import Quota
from qfbatch.pricing import Price
from qfbatch.progress.events import AttemptFailed, Event, Refused, Throttled
from qfbatch.records import Action, ErrorKind, Failure, Record, Status, Usage
from qfbatch.retry import RetryPolicy
from qfbatch.transport import HttpCall, TransportError

from .services import THROTTLED, Answer, ScriptedService, Wire, answered
from .simulated_time import simulate
from .world import request

UNWELL = Failure(ErrorKind.SERVER, Action.RETRY, "internal error", code=336000)
WRONG = Failure(ErrorKind.INVALID_REQUEST, Action.ROW, "bad request", code=336003)
STALE = Failure(ErrorKind.CREDENTIALS, Action.REFRESH, "token expired", code=111)
DOWN = Failure(ErrorKind.CONNECTION, Action.RETRY, "connection refused")


class Life:
    """Takes rows with the given outcomes all the way, one after the other, and keeps what happened."""

    def __init__(
        self,
        *outcomes: Answer,
        retry: RetryPolicy | None = None,
        renewal: Failure | bool = True,
        latency_s: float = 1.0,
    ) -> None:
        self.events: list[Event] = []
        self.stop: Stop | None = None
        self.renewals = 0
        self._outcomes = list(outcomes)
        self._retry = retry or RetryPolicy(jitter_s=0.0)
        self._renewal = renewal
        self._latency_s = latency_s

    async def _renew(self, refused: HttpCall) -> bool:
        self.renewals += 1
        if isinstance(self._renewal, Failure):
            raise TransportError(self._renewal)
        return self._renewal

    async def run(self, rows: int = 1) -> list[Record | None]:
        """The rows' records."""
        loop = asyncio.get_running_loop()
        self.stop = Stop()
        wire = Wire(ScriptedService(lambda _: self._outcomes, latency_s=self._latency_s))
        wire.renew = self._renew  # type: ignore[method-assign]  # this is what differs between the tests
        admission = Admission(Gate(Quota(adaptive=False), loop.time()), loop, random.Random(1))
        self.stop.on_request(admission.close)
        route = Route(
            model=ModelSettings("m", "ep", price=Price(1.0, 2.0)),
            targets=(
                Target(EndpointSettings("ep", "ep", ServiceSettings()), Price(1.0, 2.0), wire, wire, wire),
            ),
            lane=admission.lane("m", [Passage(Gate(Quota(), loop.time()))]),
            breaker=Breaker(BreakerPolicy(), loop.time()),
            retry=self._retry,
        )
        around = Surroundings(
            stop=self.stop, observe=self._observe, now=loop.time, clock=loop.time, rng=random.Random(1)
        )
        records = []
        for number in range(rows):
            records.append(await work(route, request(number), around))
            if self.stop.requested:
                break
        return records

    def _observe(self, event: Event) -> None:
        self.events.append(event)

    def one(self) -> Record:
        """The record of one row."""
        (record,) = simulate(self.run())
        assert record is not None
        return record


def test_answer_at_once_never_meets_the_retry_machinery(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither an answer nor a permanent failure at the first attempt enters tenacity."""

    async def entered(*args: object, **options: object) -> None:
        raise AssertionError("entered")

    monkeypatch.setattr(worker, "further_attempts", entered)
    assert Status.SUCCEEDED is Life(answered()).one().status
    assert Status.FAILED is Life(WRONG).one().status


def test_record_tells_attempts_waits_and_latency() -> None:
    """Two failures, then an answer: three attempts, the waits between them, the last attempt's latency."""
    life = Life(UNWELL, UNWELL, answered(1000))
    record = life.one()
    assert (3, 3.0, 1.5) == (record.attempts, record.wait_s, record.cost)
    assert pytest.approx(1.0) == record.latency_s
    assert [1, 2] == [event.attempt for event in life.events if isinstance(event, AttemptFailed)]
    assert pytest.approx(6_000_000) == record.finished_at - record.started_at


def test_dropped_answers_tokens_are_kept() -> None:
    """Tokens of answers that were thrown away are counted in the row's record."""
    dropped = msgspec.structs.replace(UNWELL, usage=Usage(5, 7, 12))
    record = Life(dropped, dropped, answered()).one()
    assert (24, "CNY") == (record.discarded_tokens, record.currency)
    assert pytest.approx(2 * (0.005 + 0.014)) == record.discarded_cost


def test_a_failed_row_tells_what_its_dropped_answers_cost() -> None:
    """A row without an answer to show for it has paid all the same."""
    dropped = msgspec.structs.replace(WRONG, usage=Usage(1000, 0, 1000))
    record = Life(dropped).one()
    assert (None, 1.0, "CNY") == (record.cost, record.discarded_cost, record.currency)


def test_a_refusal_is_told_once_with_its_row() -> None:
    """What the service refuses for all rows is an event of its own, with the service's code."""
    life = Life(msgspec.structs.replace(WRONG, action=Action.JOB))
    assert [None] == simulate(life.run())
    refused = Refused("m", "r0", ErrorKind.INVALID_REQUEST, 336003, "bad request", endpoint="ep")
    assert [refused] == [event for event in life.events if isinstance(event, Refused)]


@pytest.mark.parametrize(("codes", "attempts"), [(frozenset({336003}), 3), (frozenset[int](), 1)])
def test_extra_codes_are_retried(codes: frozenset[int], attempts: int) -> None:
    """A code that the table calls permanent is retried if the job says so, and its own failure recorded."""
    record = Life(WRONG, retry=RetryPolicy(retry_count=3, extra_codes=codes)).one()
    assert (attempts, 336003, "bad request") == (record.attempts, record.error_code, record.error_message)


def test_stale_credentials_are_renewed_and_cost_no_attempt() -> None:
    """The call is made again with new credentials even where only one attempt is allowed."""
    life = Life(STALE, answered(), retry=RetryPolicy(retry_count=1))
    assert (Status.SUCCEEDED, 1) == (life.one().status, life.renewals)
    assert [] == life.events


@pytest.mark.parametrize("renewal", [True, False])
def test_credentials_refused_again_end_the_run(renewal: bool) -> None:  # noqa: FBT001 - a parameter
    """What new credentials don't cure, or what cannot be renewed, is the job's: the row is left undone."""
    life = Life(STALE, renewal=renewal)
    assert [None] == simulate(life.run())
    assert life.stop is not None
    assert life.stop.reason is not None
    assert 5 == life.stop.reason.exit_code


def test_unreachable_token_service_ends_the_run_instead_of_burning_rows() -> None:
    """When stale credentials cannot be renewed for a while, the breaker stops the run."""
    life = Life(STALE, renewal=DOWN, retry=RetryPolicy(retry_count=2, backoff_factor=0.1, jitter_s=0.0))
    records = simulate(life.run(rows=1000))
    assert life.stop is not None
    assert life.stop.requested
    assert len(records) <= 20


def test_throttled_token_service_loses_no_row() -> None:
    """A refusal by rate from the token service pauses the endpoint and the row goes on."""
    life = Life(STALE, answered(), renewal=THROTTLED, retry=RetryPolicy(retry_count=1))
    record = life.one()
    assert (Status.SUCCEEDED, 2) == (record.status, record.attempts)
    assert [True] == [event.pause_s >= 0.5 for event in life.events if isinstance(event, Throttled)]


def test_dead_network_without_waits_burns_at_most_a_hundred_rows() -> None:
    """With no backoff at all a hundred rows out of attempts prove that nothing succeeds."""
    life = Life(UNWELL, retry=RetryPolicy(retry_count=1), latency_s=0.001)
    records = simulate(life.run(rows=1000))
    assert [False] * 99 + [True] == [record is None for record in records]


def test_rows_that_reach_nothing_are_left_undone() -> None:
    """Where not one call ever reached the service the run stops with all its rows left."""
    life = Life(DOWN, retry=RetryPolicy(retry_count=2))
    assert [None] == simulate(life.run(rows=5))
    assert life.stop is not None
    assert "not one call reached the service" in str(life.stop.reason)


def test_address_is_shown_without_secrets() -> None:
    """Of a URL only host and port are shown."""
    assert "host:8080" == address("http://user:password@host:8080/path?access_token=secret")
