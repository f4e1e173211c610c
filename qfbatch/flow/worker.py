"""One row's life for one model: admitted, called, judged, perhaps called again, and recorded.

A row never raises. It ends as a record, or, when the run is ending and nothing of it is in flight, it is
left undone for the next run. The way of a row answered at once is short on purpose; everything else happens
off it.
"""

from __future__ import annotations

import msgspec

from qfbatch.credentials import Authorizer, unspoken
from qfbatch.flow.admission import Door
from qfbatch.flow.recording import Course, record_of
from qfbatch.flow.rotation import take_note
from qfbatch.flow.routing import Route, Target
from qfbatch.flow.stopping import RunStopping, address, job_refused, nothing_succeeds
from qfbatch.flow.surroundings import Surroundings
from qfbatch.progress.events import AttemptFailed, Paused, Refused, Throttled
from qfbatch.records import (
    Action,
    Completion,
    ErrorKind,
    Failure,
    Record,
    Request,
)
from qfbatch.retry import Outcome, further_attempts, tokens_of
from qfbatch.service.dialect import Call, Header
from qfbatch.tokens import SMOOTHING, estimate_usage
from qfbatch.transport import HttpCall, TransportError


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
        "avoided",
        "call",
        "course",
        "renewed",
        "request",
        "route",
        "sent",
        "target",
        "throttled_since",
    )

    def __init__(self, route: Route, request: Request, around: Surroundings) -> None:
        self.route = route
        self.request = request
        self.around = around
        self.target: Target | None = None
        self.avoided: Door | None = None
        self.call: Call | None = None
        self.course = Course()
        self.renewed: tuple[Authorizer, ...] = ()
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
            began = around.clock()
            door = route.lane.enter_now(expected, self.avoided, began)
            if door is None:
                door, began = await self._enter(expected, began)
            course.attempts += 1
            if course.attempts == 1:
                self._begins()
            outcome: Outcome | None = None
            self.sent = None
            try:
                target, call = self._aim(route.targets[door.number])
                self.sent = sent = await target.authorizer.authorize(call, timeout_s=timeout_s)
                if call.stream:
                    outcome = await self._streamed(target, door, sent, began)
                else:
                    answer = await target.transport.ask(sent)
                    self._heed(target, door, answer.header)
                    outcome = target.dialect.decode(
                        answer.status, answer.header, answer.body, now=around.now()
                    )
                if isinstance(outcome, Failure) or outcome.usage is None:
                    outcome = self._amended(outcome, sent)
            except TransportError as error:
                outcome = error.failure
            finally:
                # Before its place is given away, or the next row would run into the same refusal.
                if outcome is not None:
                    self._learn(door, outcome, expected, began)
                door.leave(
                    started=began,
                    estimated_tokens=expected,
                    actual_tokens=tokens_of(outcome),
                    answered=isinstance(outcome, Completion),
                )
            now = around.clock()
            course.latency_s = now - began
            course.finished_at = around.now()
            if isinstance(outcome, Completion):
                self._succeeded(door, outcome, began)
                return outcome
            course.drop(outcome, route.targets[door.number].price)
            final = await self._judge(door, self._policy(outcome), began)
            if final is not None:
                return final

    def _begins(self) -> None:
        """The row's first call starts."""
        self.course.started_at = self.around.now()
        if self.around.on_begun is not None:
            self.around.on_begun()

    async def _enter(self, expected: int, asked_at: float) -> tuple[Door, float]:
        """The door by which a call may start, and when, after waiting for it.

        Raises:
            RunStopping: if the run ends meanwhile.
        """
        door = await self.route.lane.enter(expected, self.avoided)
        if door is None:
            raise RunStopping
        began = self.around.clock()
        self.course.wait_s += began - asked_at
        return door, began

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
                endpoint=self._endpoint,
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
        price = None if self.target is None else self.target.price
        return record_of(self.request, price, self._endpoint, self.course, outcome)

    def _aim(self, target: Target) -> tuple[Target, Call]:
        """The call to `target`, made once for as long as attempts go there."""
        if self.call is None or self.target is not target:
            endpoint, request = target.settings.endpoint, self.request
            self.call = target.dialect.encode(
                endpoint, request.prompt, request.parameters, messages=request.messages
            )
            self.target = target
        return target, self.call

    @property
    def _endpoint(self) -> str:
        return "" if self.target is None else self.target.settings.name

    def _heed(self, target: Target, door: Door, header: Header) -> None:
        """What an answer's headers say of limits is taken to heart."""
        signals = target.dialect.rate_signals(header)
        if signals is not None:
            pause_s = door.heed(signals)
            if pause_s > 0:
                self.around.observe(Paused(self.route.model.name, pause_s, target.settings.name))

    async def _streamed(self, target: Target, door: Door, sent: HttpCall, began: float) -> Outcome:
        """What comes of a call whose answer is a stream of events."""
        around = self.around
        async with target.transport.stream(sent) as response:
            self._heed(target, door, response.header)
            decoder = target.dialect.stream_decoder(response.status, response.header, now=around.now())
            self.course.time_to_first_token_s = None
            try:
                async for chunk in response.chunks(gap_s=self.route.retry.event_timeout_s):
                    decoder.feed(chunk)
                    if self.course.time_to_first_token_s is None and decoder.started:
                        self.course.time_to_first_token_s = around.clock() - began
                    if decoder.ended:
                        break
            except TransportError as error:
                return decoder.finish(broken=error.failure)
            return decoder.finish()

    def _amended(self, outcome: Outcome, sent: HttpCall) -> Outcome:
        """A failure without the call's own secrets; a completion with usage where its answer tells none."""
        if isinstance(outcome, Failure):
            return unspoken(outcome, sent)
        usage = estimate_usage(self.request.prompt, outcome.result)
        return msgspec.structs.replace(outcome, usage=usage)

    def _learn(self, door: Door, outcome: Outcome, tokens: int, began: float) -> None:
        """What a call's outcome says of its endpoint."""
        if isinstance(outcome, Failure):
            outcome = self._policy(outcome)
            if outcome.action is Action.THROTTLE:
                self._pause(door, outcome, tokens, began)
        if self.route.lane.several:
            take_note(
                self.route, door, outcome, started=began, now=self.around.clock(), observe=self.around.observe
            )

    def _succeeded(self, door: Door, completion: Completion, began: float) -> None:
        route = self.route
        door.succeeded(started=began)
        route.breaker.succeeded()
        if completion.usage is not None:
            newest = completion.usage.completion_tokens
            route.expected_completion += SMOOTHING * (newest - route.expected_completion)

    def _policy(self, failure: Failure) -> Failure:
        """The failure with the job's own say: codes to retry although the table calls them permanent."""
        if failure.code in self.route.retry.extra_codes and failure.action in (Action.ROW, Action.JOB):
            return msgspec.structs.replace(failure, action=Action.RETRY)
        return failure

    async def _judge(self, door: Door, failure: Failure, began: float) -> Failure | None:
        """What becomes of the attempt after a failed call that began then.

        Returns:
            Its failure; None if it goes on with another call.

        Raises:
            RunStopping: if the failure ends the run, or the run is ending anyway.
        """
        now = self.around.clock()
        self._count(failure, now)
        if failure.action is Action.REFRESH:
            refreshed = await self._refresh(door, failure)
            if refreshed is None:
                return None
            failure = refreshed
        if failure.action is Action.JOB:
            if self.route.lane.several and self.route.lane.doors_left:
                return None
            self._refused(failure)
            raise RunStopping
        self.avoided = door
        if door.health.was_tried_by(started=began) and self.route.lane.some_up:
            return None  # the row was lent to find out about the endpoint
        if failure.action is Action.THROTTLE and self._goes_on(now):
            return None
        return failure

    def _refused(self, failure: Failure) -> None:
        """The service refuses the whole job, and no other endpoint is left: tell it, and end the run."""
        around, request, target = self.around, self.request, self.target
        assert target is not None, "an endpoint refused"  # noqa: S101
        refusal = (target.settings.name, failure.kind, failure.code)
        if refusal not in self.route.refusals:  # every row in flight meets the same one
            self.route.refusals.add(refusal)
            around.observe(
                Refused(
                    model=request.model,
                    row_id=request.row_id,
                    kind=failure.kind,
                    code=failure.code,
                    message=failure.message,
                    endpoint=target.settings.name,
                )
            )
        others = len(self.route.targets) - 1
        around.stop.request(job_refused(self._where, failure, target.authorizer.found, others=others))

    @property
    def _where(self) -> str:
        where = f"model {self.route.model.name} (endpoint {self._endpoint})"
        # Of the address only what is no secret: its query may hold a token.
        return where if self.sent is None else f"{where} at {address(self.sent.url)}"

    def _count(self, failure: Failure, now: float) -> None:
        """Let the breaker know; it may end the run."""
        self._stop_for(self.route.breaker.failed(failure, now, self.request.row_id), failure)

    def _stop_for(self, reason: str | None, failure: Failure) -> None:
        lane = self.route.lane
        if failure.action is Action.RETRY and lane.several and lane.spotless:
            return  # where nothing fails rows still get through
        if reason is not None:
            self.around.stop.request(nothing_succeeds(self._where, reason))
            raise RunStopping

    def gave_up(self, failure: Failure) -> None:
        """The row is out of attempts; when nothing but that happens, the run ends and it is left undone."""
        self._stop_for(self.route.breaker.row_failed(failure), failure)

    async def _refresh(self, door: Door, failure: Failure) -> Failure | None:
        """What becomes of a call refused for stale credentials.

        Returns:
            None if they were renewed and the call is to be made once more; else the failure in its place.

        Raises:
            RunStopping: if nothing gets through to the token service any more.
        """
        assert self.target is not None, "an endpoint was asked"  # noqa: S101
        around, sent, authorizer = self.around, self.sent, self.target.authorizer
        try:
            if authorizer not in self.renewed and sent is not None and await authorizer.renew(sent):
                self.renewed += (authorizer,)
                return None
            failure = msgspec.structs.replace(failure, action=Action.JOB)
            self._learn(door, failure, 0, around.clock())
        except TransportError as error:
            # Mostly transient: the token service is unwell, and the next attempt asks again. Not for ever.
            failure = error.failure
            self._learn(door, failure, 0, around.clock())
            self._count(failure, around.clock())
        return failure

    def _pause(self, door: Door, failure: Failure, tokens: int, began: float) -> None:
        """A call was refused by rate: its endpoint rests."""
        pause_s = door.throttled(
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
                endpoint=self._endpoint,
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
