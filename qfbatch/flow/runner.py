"""A run, start to end: read → skip what is done → work → commit → summarise. No policy lives here.

What to do with a failure is the dialect's table and `worker`; what is done is `checkpoint`; who may call is
`admission`. This module ties them together and sees to it that a run ends in order, whatever ends it.
"""

from __future__ import annotations

import asyncio
import random
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial

from qfbatch.breaker import PROVEN_ALIKE_ROWS, Breaker, BreakerPolicy
from qfbatch.budget import BudgetGuard, cost_toward_budget
from qfbatch.checkpoint.interface import Commits
from qfbatch.checkpoint.parts import PartSummary
from qfbatch.errors import Interrupted, QfbatchError, RunDirectoryError
from qfbatch.flow.admission import Admission
from qfbatch.flow.connecting import Connection, connections, service_addresses
from qfbatch.flow.crew import Crew
from qfbatch.flow.eventloop import new_event_loop
from qfbatch.flow.feed import Feed, ShardWork
from qfbatch.flow.in_session import in_session, started
from qfbatch.flow.loading import Loader
from qfbatch.flow.recording import carried_on
from qfbatch.flow.routing import Route, open_routes, own_gate, places_at_once
from qfbatch.flow.session import OpenSession, RunOptions, RunResult
from qfbatch.flow.signals import stop_on_signals
from qfbatch.flow.stopping import Stop, StopButton
from qfbatch.flow.surroundings import Surroundings
from qfbatch.flow.watching import Admitting, Watch
from qfbatch.flow.within_budget import WithinBudget
from qfbatch.flow.worker import work
from qfbatch.job.settings import Job, ModelSettings, ServiceSettings
from qfbatch.limits.gate import Gate
from qfbatch.limits.quota import Quota
from qfbatch.progress.events import (
    Observer,
    RowsCommitted,
    RunEnded,
    ShardClosed,
    Stopping,
    TokenRenewed,
    to_all,
)
from qfbatch.reader.shard_reader import ShardReader
from qfbatch.records import Record
from qfbatch.tally import Tally, add_all, total

PULSE_S = 0.5
MINIMUM_QUIET_S = 30.0


@dataclass(frozen=True, slots=True)
class Clocks:
    """Where a run takes its time and its chance from.

    Attributes:
        now: wall clock, seconds since the epoch.
        rng: jitter.
    """

    now: Callable[[], float] = time.time
    rng: random.Random = random.Random()  # noqa: RUF009, S311 - spreads waits, guards nothing


def run_job(
    job: Job,
    options: RunOptions,
    *,
    environ: Mapping[str, str],
    observe: Observer,
    clocks: Clocks | None = None,
    button: StopButton | None = None,
) -> RunResult:
    """Run a job, or resume it, in this process; returns when it has ended, however it ended.

    Args:
        job: the job.
        options: of this session.
        environ: where credentials, proxies and certificates are found.
        observe: takes what happens.
        clocks: time and randomness.
        button: ends the run from another thread, as SIGINT does.

    Raises:
        InputError: the input is wrong, found before the first call.
        RunDirectoryError: the run directory cannot be used, found before the first call.
        ServiceRefused: there are no credentials.
    """
    clocks, button = clocks or Clocks(), button or StopButton()

    def carry_out(session: OpenSession, observe: Observer) -> RunResult:
        """Do what the session has left, in this process."""
        run = Run(job, options, session, observe, clocks=clocks, button=button)
        with service_addresses(job) as addresses, asyncio.Runner(loop_factory=new_event_loop) as loop:
            return loop.run(run.run(addresses, environ))

    return in_session(job, options, carry_out, now=clocks.now, observe=observe)


class Run:
    """One session's work, on the event loop: all of it, or one node's part of what many do (`cluster`).

    Args:
        job: the job.
        options: of this session.
        session: the run, opened.
        observe: takes what happens.
        clocks: time and randomness.
        button: ends the run from another thread, as SIGINT does.
    """

    def __init__(
        self,
        job: Job,
        options: RunOptions,
        session: OpenSession,
        observe: Observer,
        *,
        clocks: Clocks,
        button: StopButton,
    ) -> None:
        self._job = job
        self._options = options
        self._session = session
        self._clocks = clocks
        self._button = button
        self._stop = Stop()
        self._tallies = {name: Tally(standing) for name, standing in session.standing.items()}
        before = session.before
        self._budget = BudgetGuard(
            job.budget,
            spent_tokens=before.total_tokens + before.discarded_tokens,
            spent_cost=cost_toward_budget(job, before.spent),
        )
        self._watch = Watch(job, session.manifest.survey, self._tallies, limit=options.limit)
        self._observe = to_all([self._watch, observe])
        self._settled = asyncio.Event()  # a row ended: the budget may have room again
        self._asked = 0
        self._crews: list[asyncio.Task[None]] = []
        self._feeds: dict[str, Feed] = {}
        self._admission: Admission | None = None

    async def run(self, addresses: Mapping[ServiceSettings, str], environ: Mapping[str, str]) -> RunResult:
        """Work until nothing is left or the run is stopped; commit everything in either case."""
        loop = asyncio.get_running_loop()
        try:
            async with connections(
                self._job,
                addresses,
                environ=environ,
                now=self._clocks.now,
                on_renewed=lambda: self._observe(TokenRenewed()),
            ) as services:
                done = self._rows_with_record() - self._session.failed_again
                self._observe(started(self._session, rows=self._rows_in_all(), done=done))
                committer = self._session.checkpoint.commits(
                    on_commit=self._committed, on_closed=self._closed
                )
                with stop_on_signals(
                    loop,
                    self._stop,
                    grace_s=self._options.grace_s,
                    now_or_never=self._cancel_crews,
                    button=self._button,
                ):
                    async with committer:
                        await self._work(loop, committer, services)
        except RunDirectoryError as error:
            # What was committed is safe, and nothing more can be: that outweighs why the run was ending.
            self._stop.request(error)
            self._stop.reason = error
        if self._admission is not None:
            self._observe(self._watch.pulse(self._admission, loop.time()))
        return self._result()

    async def _work(
        self,
        loop: asyncio.AbstractEventLoop,
        committer: Commits,
        services: Mapping[ServiceSettings, Connection],
    ) -> None:
        # The run's own gate only counts: what adapts to a service is the gate of its endpoint.
        gate = self._open_gate("run", replace(self._job.limits, adaptive=False), loop.time())
        admission = self._admission = Admission(gate, loop, self._clocks.rng)
        self._stop.on_request(admission.close)
        self._stop.on_request(self._settled.set)
        reader = ShardReader(self._job.input)
        feeds = self._feeds
        open_them = partial(open_routes, self._job, services, admission, breaker=self._breaker)
        for route in open_them(now=loop.time(), open_gate=self._open_gate):
            model = route.model
            load = Loader(self._job, model, self._session, reader, retry_failed=self._options.retry_failed)
            feed = Feed(self._work_of(model.name), load, partial(committer.finish, model.name))
            feeds[model.name] = feed
            self._stop.on_request(feed.stop)
            size = places_at_once(self._job, model)
            self._crews.append(loop.create_task(self._crew(size, route, feed, committer, loop)))
        watchers = [
            loop.create_task(self._watch_storage(committer)),
            loop.create_task(self._pulse(admission, loop)),
            loop.create_task(self._announce_stop(admission)),
        ]
        try:
            await asyncio.gather(*self._crews, return_exceptions=True)
        finally:
            for watcher in watchers:
                watcher.cancel()
            await asyncio.gather(
                *watchers, *(feed.close() for feed in feeds.values()), return_exceptions=True
            )
            reader.close()
        for crew in self._crews:
            if not crew.cancelled() and (error := crew.exception()) is not None:
                raise error

    async def _crew(
        self,
        size: int,
        route: Route,
        feed: Feed,
        committer: Commits,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        budget = WithinBudget(self._budget, self._stop, self._settled) if self._budget.limited else None
        work_row = work if budget is None else budget.work
        tally = self._tallies[route.model.name]
        asked, stop = tally.asked, self._stop

        async def work_next() -> bool:
            """Take the next row all the way to the committer; False where there is none, or the run ends."""
            if committer.crowded:
                await committer.wait_for_room()
            request = feed.at_hand()
            if request is None:
                try:
                    request = await feed.take()
                except QfbatchError as error:
                    stop.request(error)
                    return False
            if request is None or stop.requested:
                return False
            if budget is not None and not await budget.may_begin():
                return False
            record = await work_row(route, request, around)
            if record is None:
                return False
            self._asked += 1
            asked.estimated_tokens += request.estimated_tokens
            if request.failed_before:
                tally.replace_failed(request.dropped_before)
                record = carried_on(record, request.dropped_before)
            committer.append(record)
            feed.recorded(request)
            return True

        crew = Crew(size, work_next)
        around = Surroundings(
            stop=self._stop,
            observe=self._observe,
            now=self._clocks.now,
            clock=loop.time,
            rng=self._clocks.rng,
            on_idle=crew.row_waits,
            on_busy=crew.row_returns,
            on_begun=None if budget is None else budget.begun,
        )
        await crew.run()

    def _work_of(self, model: str) -> Iterable[ShardWork] | AsyncIterator[ShardWork]:
        """The shards to do for a model."""
        return self._session.work[model]

    def _open_gate(self, name: str, quota: Quota, now: float) -> Gate:
        """A gate of this process alone."""
        return own_gate(name, quota, now)

    def _breaker(self, model: ModelSettings) -> Breaker:
        now = asyncio.get_running_loop().time()
        return Breaker(self._breaker_policy(), now, proven=self._session.answered[model.name] > 0)

    def _breaker_policy(self) -> BreakerPolicy:
        retry = self._job.retry
        return BreakerPolicy(
            # Rows known to fail are asked again one after the other: that they fail alike is no news.
            proven_alike_rows=sys.maxsize if self._options.retry_failed else PROVEN_ALIKE_ROWS,
            quiet_s=max(MINIMUM_QUIET_S, retry.request_timeout_s),
            throttled_s=retry.throttle_timeout_s,
        )

    async def _watch_storage(self, committer: Commits) -> None:
        """What cannot be stored must not be asked for: a storage error stops everything at once."""
        try:
            await committer.failure()
        except QfbatchError as error:
            self._stop.request(error)
            self._cancel_crews()

    async def _pulse(self, admission: Admission, loop: asyncio.AbstractEventLoop) -> None:
        while True:
            self._observe(self._watch.pulse(admission, loop.time()))
            await asyncio.sleep(PULSE_S)

    async def _announce_stop(self, admission: Admitting) -> None:
        await self._stop.wait()
        assert self._stop.reason is not None, "a stop has a reason"  # noqa: S101
        reason = self._stop.reason
        told = reason.message
        if isinstance(reason, Interrupted) and admission.in_flight:
            told += f"; they have {self._options.grace_s:g} s, a second signal ends them now"
        self._observe(Stopping(told, admission.in_flight))

    def _cancel_crews(self) -> None:
        for crew in self._crews:
            crew.cancel()

    def _committed(self, records: list[Record]) -> None:
        add_all(self._tallies, records)
        self._observe(RowsCommitted(records))

    def _closed(self, model: str, shard: int, summary: PartSummary) -> None:
        self._observe(ShardClosed(model, shard, summary.rows))

    def _rows_with_record(self) -> int:
        return sum(tally.rows for tally in self._tallies.values())

    def _rows_in_all(self) -> int:
        """Rows of the run as far as this session is about them: those done before, and its open ones."""
        return self._session.committed.rows + self._session.open_rows

    def _result(self) -> RunResult:
        standing, reason = total(tally.standing() for tally in self._tallies.values()), self._stop.reason
        left = max(0, self._rows_in_all() - standing.rows)
        exit_code = (1 if standing.failed else 0) if reason is None else reason.exit_code
        ended = "" if reason is None else reason.message
        self._observe(RunEnded(exit_code, standing.succeeded, standing.failed, left, ended))
        return RunResult(exit_code, standing.succeeded, standing.failed, left, self._asked, reason)


__all__ = ["Clocks", "Run", "RunOptions", "RunResult", "run_job"]
