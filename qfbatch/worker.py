"""One row's life for one model: admitted, called, judged, perhaps called again, and recorded.

A row never raises. It ends as a record, or, when the run is ending and nothing of it is in flight, it is
left undone for the next run. The way of a row answered at once is short on purpose; everything else happens
off it.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec

from qfbatch.admission import Lane
from qfbatch.breaker import Breaker
from qfbatch.credentials import Authorizer
from qfbatch.job.settings import ModelSettings
from qfbatch.progress.events import AttemptFailed, Observer, Paused, Refused, Throttled
from qfbatch.recording import Course, record_of
from qfbatch.records import (
    Action,
    Completion,
    ErrorKind,
    Failure,
    Record,
    Request,
)
from qfbatch.retry import Outcome, RetryPolicy, further_attempts, tokens_of
from qfbatch.service.dialect import Call, Dialect
from qfbatch.stopping import RunStopping, Stop, address, job_refused, nothing_succeeds
from qfbatch.tokens import FIRST_EXPECTED_COMPLETION, SMOOTHING, estimate_usage
from qfbatch.transport import HttpCall, Transport, TransportError


@dataclass(slots=True)
class Route:
    """Everything that takes one model's rows to the service and back.

    Attributes:
        model: the model's settings.
        dialect, transport, authorizer: what is said, how it travels, on whose account.
        lane: its limits.
        breaker: stops the run when nothing succeeds.
        retry: how attempts follow each other.
        expected_completion: tokens the next answer will probably have.
    """

    model: ModelSettings
    dialect: Dialect
    transport: Transport
    authorizer: Authorizer
    lane: Lane
    breaker: Breaker
    retry: RetryPolicy
    expected_completion: float = field(default=FIRST_EXPECTED_COMPLETION)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What all rows of a run share besides their route.

    Attributes:
        stop: whether the run is ending.
        observe: takes what happened.
        now: wall clock, seconds since the epoch.
        clock: monotonic clock, seconds; the admission's own.
        rng: draws the jitter.
        on_idle, on_busy: told when a row starts and stops waiting between attempts, so that another may use
            its place in the meantime.
    """

    stop: Stop
    observe: Observer
    now: Callable[[], float]
    clock: Callable[[], float]
    rng: random.Random
    on_idle: Callable[[], None] = lambda: None
    on_busy: Callable[[], None] = lambda: None


async def work(route: Route, request: Request, around: Surroundings) -> Record | None:
    """Take one row all the way.

    Returns:
        Its record; None if the run is ending and the row was left undone.
    """
    life = _Life(route, request, around)
    try:
        outcome = await life.attempt()
        if isinstance(outcome, Failure) and outcome.action is Action.RETRY:
            outcome = await further_attempts(
                outcome,
                life.attempt,
                policy=route.retry,
                uniform=around.rng.random,
                wait=life.wait,
                noted=life.noted,
            )
        if isinstance(outcome, Failure) and outcome.action is Action.RETRY:
            life.gave_up(outcome)
    except RunStopping:
        return None
    return life.record(outcome)


class _Life:
    """The state of one row while it is worked on."""

    __slots__ = (
        "around",
        "call",
        "course",
        "renewed",
        "request",
        "route",
        "sent",
        "throttled_since",
    )

    def __init__(self, route: Route, request: Request, around: Surroundings) -> None:
        self.route = route
        self.request = request
        self.around = around
        self.call = route.dialect.encode(
            route.model.endpoint, request.prompt, request.parameters, messages=request.messages
        )
        self.course = Course()
        self.renewed = False
        self.throttled_since: float | None = None
        self.sent: HttpCall | None = None

    async def attempt(self) -> Outcome:
        """One attempt, with as many calls as throttling and stale credentials make of it.

        Raises:
            RunStopping: if the run ends before there is an outcome to keep.
        """
        route, around, course = self.route, self.around, self.course
        self.throttled_since = None
        timeout_s = route.retry.request_timeout_s
        while True:
            expected = self.request.estimated_tokens + int(route.expected_completion)
            asked_at = around.clock()
            if not await route.lane.enter(expected):
                raise RunStopping
            began = around.clock()
            course.wait_s += began - asked_at
            course.attempts += 1
            if course.attempts == 1:
                course.started_at = around.now()
            outcome: Outcome | None = None
            self.sent = None
            try:
                self.sent = await route.authorizer.authorize(self.call, timeout_s=timeout_s)
                outcome = await self._exchange(self.call, self.sent, began)
                if isinstance(outcome, Completion) and outcome.usage is None:
                    usage = estimate_usage(self.request.prompt, outcome.result)
                    outcome = msgspec.structs.replace(outcome, usage=usage)
            except TransportError as error:
                outcome = error.failure
            finally:
                if isinstance(outcome, Failure) and outcome.action is Action.THROTTLE:
                    # Before its place is given away, or the next row would run into the same refusal.
                    self._pause(outcome, expected, began)
                route.lane.leave(estimated_tokens=expected, actual_tokens=tokens_of(outcome))
            now = around.clock()
            course.latency_s = now - began
            course.finished_at = around.now()
            if isinstance(outcome, Completion):
                self._succeeded(outcome, began)
                return outcome
            course.drop(outcome, route.model)
            final = await self._judge(self._policy(outcome))
            if final is not None:
                return final

    def noted(self, failure: Failure, wait_s: float) -> None:
        """Tell the observers of a failed attempt that another will follow after `wait_s` seconds."""
        self.around.observe(
            AttemptFailed(
                model=self.request.model,
                row_id=self.request.row_id,
                attempt=self.course.attempts,
                kind=failure.kind,
                code=failure.code,
                message=failure.message,
                wait_s=wait_s,
            )
        )

    async def wait(self, seconds: float) -> None:
        """Wait between two attempts, leaving this row's place to another.

        Raises:
            RunStopping: if the run ends meanwhile.
        """
        self.course.wait_s += seconds
        self.around.on_idle()
        try:
            await self.around.stop.sleep(seconds)
        finally:
            self.around.on_busy()

    def record(self, outcome: Outcome) -> Record:
        """The row's record."""
        return record_of(self.request, self.route.model, self.course, outcome)

    async def _exchange(self, call: Call, sent: HttpCall, began: float) -> Outcome:
        route, around = self.route, self.around
        dialect = route.dialect
        async with route.transport.exchange(sent) as response:
            header = response.header
            signals = dialect.rate_signals(header)
            if signals is not None:
                pause_s = route.lane.heed(signals)
                if pause_s > 0:
                    around.observe(Paused(route.model.name, pause_s))
            if not call.stream:
                body = await response.read()
                return dialect.decode(response.status, header, body, now=around.now())
            decoder = dialect.stream_decoder(response.status, header, now=around.now())
            self.course.time_to_first_token_s = None
            try:
                async for chunk in response.chunks(gap_s=route.retry.event_timeout_s):
                    decoder.feed(chunk)
                    if self.course.time_to_first_token_s is None and decoder.started:
                        self.course.time_to_first_token_s = around.clock() - began
                    if decoder.ended:
                        break
            except TransportError as error:
                return decoder.finish(broken=error.failure)
            return decoder.finish()

    def _succeeded(self, completion: Completion, began: float) -> None:
        route = self.route
        route.lane.succeeded(started=began)
        route.breaker.succeeded()
        if completion.usage is not None:
            newest = completion.usage.completion_tokens
            route.expected_completion += SMOOTHING * (newest - route.expected_completion)

    def _policy(self, failure: Failure) -> Failure:
        """The failure with the job's own say: codes to retry although the table calls them permanent."""
        if failure.code in self.route.retry.extra_codes and failure.action in (Action.ROW, Action.JOB):
            return msgspec.structs.replace(failure, action=Action.RETRY)
        return failure

    async def _judge(self, failure: Failure) -> Failure | None:
        """What becomes of the attempt after a failed call.

        Returns:
            Its failure; None if it goes on with another call.

        Raises:
            RunStopping: if the failure ends the run, or the run is ending anyway.
        """
        now = self.around.clock()
        self._count(failure, now)
        if failure.action is Action.REFRESH:
            refreshed = await self._refresh(failure)
            if refreshed is None:
                return None
            failure = refreshed
        if failure.action is Action.JOB:
            self._refused(failure)
            raise RunStopping
        if failure.action is Action.THROTTLE and self._goes_on(now):
            return None
        return failure

    def _refused(self, failure: Failure) -> None:
        """The service refuses the whole job: tell it, and end the run."""
        around, request = self.around, self.request
        around.observe(
            Refused(
                model=request.model,
                row_id=request.row_id,
                kind=failure.kind,
                code=failure.code,
                message=failure.message,
            )
        )
        around.stop.request(job_refused(self._where, failure, self.route.authorizer.found))

    @property
    def _where(self) -> str:
        where = f"model {self.route.model.name} (endpoint {self.route.model.endpoint})"
        # Of the address only what is no secret: its query may hold a token.
        return where if self.sent is None else f"{where} at {address(self.sent.url)}"

    def _count(self, failure: Failure, now: float) -> None:
        """Let the breaker know; it may end the run."""
        self._stop_for(self.route.breaker.failed(failure, now, self.request.row_id))

    def _stop_for(self, reason: str | None) -> None:
        if reason is not None:
            self.around.stop.request(nothing_succeeds(self._where, reason))
            raise RunStopping

    def gave_up(self, failure: Failure) -> None:
        """The row is out of attempts; when nothing but that happens, the run ends and it is left undone."""
        self._stop_for(self.route.breaker.row_failed(failure))

    async def _refresh(self, failure: Failure) -> Failure | None:
        """What becomes of a call refused for stale credentials.

        Returns:
            None if they were renewed and the call is to be made once more; else the failure in its place.

        Raises:
            RunStopping: if nothing gets through to the token service any more.
        """
        route, around, sent = self.route, self.around, self.sent
        try:
            if not self.renewed and sent is not None and await route.authorizer.renew(sent):
                self.renewed = True
                return None
        except TransportError as error:
            # Mostly transient: the token service is unwell, and the next attempt asks again. Not for ever.
            if error.failure.action is Action.THROTTLE:
                self._pause(error.failure, 0, around.clock())
            self._count(error.failure, around.clock())
            return error.failure
        return msgspec.structs.replace(failure, action=Action.JOB)

    def _pause(self, failure: Failure, tokens: int, began: float) -> None:
        """A call was refused by rate: its endpoint rests."""
        pause_s = self.route.lane.throttled(
            started=began,
            retry_after_s=failure.retry_after_s,
            tokens=tokens,
            overloaded=failure.kind is ErrorKind.OVERLOADED,
        )
        self.around.observe(
            Throttled(
                model=self.request.model,
                row_id=self.request.row_id,
                code=failure.code,
                message=failure.message,
                pause_s=pause_s,
            )
        )

    def _goes_on(self, now: float) -> bool:
        """Whether the row is called again after a refusal by rate; raises `RunStopping` if nothing is."""
        if self.around.stop.requested:
            raise RunStopping
        if self.throttled_since is None:
            self.throttled_since = now
        # Others get through while this row does not: its own bound, in time, for attempts are not burnt.
        return now - self.throttled_since < self.route.retry.throttle_timeout_s
