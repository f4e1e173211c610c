"""A node of a run: the same work as in one process, on shards it is given, within limits it is dealt."""

from __future__ import annotations

import asyncio
import os
import threading
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import suppress

import msgspec
from msgspec.structs import replace

from qfbatch._version import __version__
from qfbatch.allowances import Spending
from qfbatch.breaker import Breaker
from qfbatch.checkpoint.interface import Commits
from qfbatch.checkpoint.log_checkpoint import LogCheckpoint
from qfbatch.checkpoint.manifest import Manifest
from qfbatch.checkpoint.parts import PartSummary
from qfbatch.checkpoint.place import StoredRun, logbook_of, run_place
from qfbatch.checkpoint.stored_tenure import LogRows
from qfbatch.cluster.leases import Ask, Leases
from qfbatch.cluster.messages import Assignment, Key, News, Orders
from qfbatch.cluster.stand_ins import Helping, PortionGuard, Source, TellingBreaker, TellingTally
from qfbatch.errors import ClusterLost, Interrupted, QfbatchError, RunDirectoryError
from qfbatch.flow.connecting import Connection
from qfbatch.flow.feed import ShardWork
from qfbatch.flow.runner import Clocks, Run
from qfbatch.flow.session import OpenSession
from qfbatch.flow.stopping import StopButton
from qfbatch.job.settings import ModelSettings, ServiceSettings
from qfbatch.limits.gate import Gate
from qfbatch.limits.quota import Quota
from qfbatch.progress.events import (
    Event,
    Pulse,
    RowsCommitted,
    RunEnded,
    RunStarted,
    ShardClosed,
    Stopping,
)
from qfbatch.records import Record
from qfbatch.service.redaction import clean_message
from qfbatch.tally import Standing

ORPHANED_S = 60.0  # without a word from the driver, a node stops asking the service
_encode = msgspec.msgpack.Encoder().encode


class Node:
    """An actor: one process of a run.

    Args:
        leave: ends the process.
    """

    def __init__(self, leave: Callable[[int], object] = os._exit) -> None:
        self._leave = leave
        self._run: NodeRun | None = None
        self._ending: asyncio.Task[None] | None = None

    async def version(self) -> str:
        """Of qfbatch here; asked for first, since only the same version reads what is said after that."""
        return __version__

    async def start(self, assignment: Assignment, manifest: Manifest, ask: Ask) -> int | QfbatchError:
        """Begin; the process id, or why it cannot. The manifest names input files by their absolute paths."""
        try:
            session = await asyncio.to_thread(open_assigned, assignment, manifest)
        except QfbatchError as error:
            return error
        self._run = NodeRun(assignment, session, ask)
        self._ending = asyncio.create_task(self._live(self._run, assignment))
        return os.getpid()

    async def exchange(self, orders: Orders) -> News:
        """Take orders; what is new, as soon as it matters and within the assignment's `news_s`."""
        assert self._run is not None, "a node is started first"  # noqa: S101
        return await self._run.exchange(orders)

    async def _live(self, run: NodeRun, assignment: Assignment) -> None:
        await run.work_on(assignment)
        # Ray ends the process of a node that has ended, but not where its own part of the machine is gone.
        await run.until_forgotten()
        self._leave(0)


def open_assigned(assignment: Assignment, manifest: Manifest) -> OpenSession:
    """The run as a node has it: everything is known, nothing is claimed."""
    job = assignment.job
    place = run_place(job.output_path, job.access, shared=True)
    if not isinstance(place, StoredRun):
        raise RunDirectoryError(f"{place} has no commit log.", hint="Give the job another output.path.")
    if place.store.stat("manifest.json") is None:
        raise RunDirectoryError(
            f"{place}: the run that the driver opened is not there on a node.",
            hint="output.path must be on storage that all machines share: s3://… or a shared folder.",
        )
    models = [model.name for model in job.models]
    checkpoint = LogCheckpoint(
        place.store,
        models,
        manifest.survey.shards,
        manifest.survey.columns,
        manifest.log_id,
        writer=assignment.name,
        logbook=place.logbook(manifest.log_id),
    )
    return OpenSession(
        place,
        manifest,
        LogRows(place, checkpoint, manifest.log_id, threading.Event()),
        committed=PartSummary(),
        answered=dict.fromkeys(models, 0),
        failed_again=0,
        open_rows=0,
        standing=dict.fromkeys(models, Standing()),
        work={model: [] for model in models},
    )


class NodeRun(Run):
    """See `Run`: shards come from the driver, limits from the limiter; what happens goes to the driver.

    Args:
        assignment: what to do.
        session: the run.
        ask: reports to the limiter.
    """

    def __init__(self, assignment: Assignment, session: OpenSession, ask: Ask) -> None:
        super().__init__(
            assignment.job,
            assignment.options,
            session,
            self._noted,
            clocks=Clocks(),
            button=StopButton(),
        )
        self._loop = asyncio.get_running_loop()
        self._news_s = assignment.news_s
        self._leases = Leases(ask, self._loop)
        self._news = News()
        self._logbook = logbook_of(session.layout, session.manifest.log_id)
        self._urgent = asyncio.Event()
        self._tallies = {model: TellingTally(model, self._news_of) for model in session.standing}
        self._budget = PortionGuard(assignment.job.budget)
        self._sources = {model: Source(self._urgent) for model in session.standing}
        self._breakers: dict[str, TellingBreaker] = {}
        self._owned: set[Key] = set()
        self._lent: defaultdict[Key, int] = defaultdict(int)  # rows of its own that others work on
        self._all_back = asyncio.Event()
        self._returning: Helping | None = None
        self._heard_at = self._loop.time()
        self._ended = asyncio.Event()
        self._stop.on_request(self._stopped)

    async def work_on(self, assignment: Assignment) -> None:
        """The node's life, from its first shard to its last, or to a stop."""
        keeper = self._loop.create_task(self._stop_when_orphaned())
        try:
            result = await self.run(assignment.addresses, {**os.environ, **assignment.environ})
            self._news.reason = result.reason
            self._news.cut_off = [model for model, breaker in self._breakers.items() if breaker.cut_off]
        except QfbatchError as error:
            self._news.reason = error
        except Exception as error:  # noqa: BLE001 - told to the driver, who has others do the work
            self._news.fault = clean_message(f"{type(error).__name__}: {error}")
        finally:
            keeper.cancel()
            self._news.ended = True
            self._ended.set()
            self._urgent.set()

    async def exchange(self, orders: Orders) -> News:
        """Carry out orders; the news since the last ones."""
        self._heard_at = self._loop.time()
        self._carry_out(orders)
        with suppress(TimeoutError):
            async with asyncio.timeout(self._news_s):
                await self._urgent.wait()
        self._urgent.clear()
        news, self._news = self._news, News()
        news.asked = self._asked
        news.ready = {model: feed.ready for model, feed in self._feeds.items()}
        news.wants = [model for model, source in self._sources.items() if source.waits]
        tokens, cost = self._budget.spent
        reserved_tokens, reserved_cost = self._budget.reserved
        news.spending = Spending(
            tokens,
            cost,
            reserved_tokens,
            reserved_cost,
            short=self._budget.limited and not self._budget.has_room,
            # A row that waits for room is at hand, although other workers want more: taken for idle, the node
            # would give its portion back, and the row would wait for ever.
            idle=not reserved_tokens
            and not self._budget.waiting
            and all(source.waits for source in self._sources.values()),
        )
        if self._admission is not None:
            news.lanes = self._admission.statistics()
            news.waiting = self._admission.waiting
        return news

    def _carry_out(self, orders: Orders) -> None:
        for model, shard in orders.give_up:
            if model in self._feeds:
                self._feeds[model].give_up(shard)
        for record in orders.records:
            self._take_back(record)
        for model, work in orders.work:
            self._take_on(model, work)
        for model in orders.no_more:
            self._sources[model].end()
        for key in orders.abandoned:
            self._lent[key] -= 1
        for model, rows in orders.hand_on.items():
            self._hand_on(model, rows)
        if not any(left > 0 for left in self._lent.values()):
            self._all_back.set()
        self._heed(orders)

    def _heed(self, orders: Orders) -> None:
        if self._budget.limited:
            self._budget.allow(orders.budget)
            self._settled.set()
        if orders.stop is not None:
            self._stop.request(orders.stop)
        if orders.now:
            self._cancel_crews()

    def _take_on(self, model: str, work: ShardWork) -> None:
        assert self._returning is not None, "work comes when it was asked for"  # noqa: S101
        key = model, work.shard.number
        if not work.requests:
            if self._returning.is_borrowed(key):
                # Rows of it that were lent are on their way still; then it is this node's own.
                self._returning.when_returned(key, lambda: self._take_on(model, work))
                return
            self._owned.add(key)
        elif key in self._owned:
            self._lent[key] -= len(work.requests)
        else:
            self._returning.borrow(key)
        self._sources[model].put(work)

    def _hand_on(self, model: str, rows: int) -> None:
        requests = self._feeds[model].hand_on(rows) if model in self._feeds else []
        if self._stop.requested or not requests:
            self._news.handed_on.append((model, None))
            return
        shard = requests[0].shard
        self._lent[model, shard] += len(requests)
        self._all_back.clear()
        found = next(s for s in self._session.manifest.survey.shards if s.number == shard)
        self._news.handed_on.append((model, ShardWork(found, found.rows, len(requests), tuple(requests))))
        self._urgent.set()

    def _take_back(self, record: Record) -> None:
        key = record.model, record.shard
        self._lent[key] -= 1
        if self._returning is not None and not self._ended.is_set():
            self._returning.append(record)
            self._feeds[record.model].ended(record.shard)

    def _noted(self, event: Event) -> None:
        """An observer: what happens here is for the driver's observers."""
        match event:
            case RowsCommitted():
                slim = [
                    replace(record, prompt="", result=None, parameters="", columns={}, extra=None)
                    for record in event.records
                ]
                self._news.committed.append(_encode(slim))
            case RunStarted() | RunEnded() | Pulse() | Stopping():
                pass
            case ShardClosed():
                self._owned.discard((event.model, event.shard))
                self._news.closed.append((event.model, event.shard))
                self._news.logs |= self._logbook.take_done()
                self._news.events.append(event)
                self._urgent.set()
            case _:
                self._news.events.append(event)

    def _news_of(self) -> News:
        return self._news

    async def _work(
        self,
        loop: asyncio.AbstractEventLoop,
        committer: Commits,
        services: Mapping[ServiceSettings, Connection],
    ) -> None:
        returning = self._returning = Helping(committer, self._news_of, self._urgent)
        keeper = loop.create_task(self._keep_leases())
        try:
            await super()._work(loop, returning, services)
            if self._stop.requested:
                await self._wait_for_lent_rows()
        finally:
            keeper.cancel()

    async def _keep_leases(self) -> None:
        try:
            await self._leases.keep(lambda: self._admission)
        except ClusterLost as lost:
            self._stop.request(lost)

    async def _wait_for_lent_rows(self) -> None:
        """Rows that others have on their way for this node will be paid for: their records are waited for."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._options.grace_s):
                while any(left > 0 for left in self._lent.values()):
                    self._all_back.clear()
                    await self._all_back.wait()

    async def _stop_when_orphaned(self) -> None:
        while True:
            await asyncio.sleep(ORPHANED_S / 10)
            if self._loop.time() - self._heard_at > ORPHANED_S:
                self._stop.request(Interrupted("the driver has not been heard of"))

    async def until_forgotten(self) -> None:
        """Wait until the driver has not been heard of for long."""
        while True:
            left_s = self._heard_at + ORPHANED_S - self._loop.time()
            if left_s <= 0:
                return
            await asyncio.sleep(left_s)

    def _stopped(self) -> None:
        for source in self._sources.values():
            source.end()
        self._urgent.set()

    def _work_of(self, model: str) -> Iterable[ShardWork] | AsyncIterator[ShardWork]:
        return self._sources[model].items()

    def _open_gate(self, name: str, quota: Quota, now: float) -> Gate:
        return self._leases.open_gate(name, quota, now)

    def _breaker(self, model: ModelSettings) -> Breaker:
        found = self._breakers[model.name] = TellingBreaker(model.name, self._news_of)
        return found


__all__ = ["Node", "NodeRun", "open_assigned"]
