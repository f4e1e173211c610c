"""The driver of a run on a cluster: it opens the run, deals its work, counts, and ends it in order."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Coroutine, Mapping
from dataclasses import replace
from typing import Any

import msgspec

from qfbatch.allowances import Allowances
from qfbatch.breaker import Breaker
from qfbatch.budget import cost_toward_budget
from qfbatch.checkpoint.committed import CommittedRows
from qfbatch.checkpoint.place import logbook_of
from qfbatch.cluster.dealing import Dealer
from qfbatch.cluster.engine import LOCAL, Engine, NodeActor, NodeLost
from qfbatch.cluster.messages import Assignment, News, Orders
from qfbatch.cluster.paths import absolute_files, absolute_job
from qfbatch.cluster.reach import END_WITHOUT_HEAD_S, head_lost, until_lost
from qfbatch.cluster.variables import wanted_variables
from qfbatch.errors import BudgetReached, ClusterLost, Fenced, QfbatchError, UsageError
from qfbatch.flow.connecting import service_addresses
from qfbatch.flow.eventloop import new_event_loop
from qfbatch.flow.in_session import in_session, started
from qfbatch.flow.runner import PULSE_S, Clocks, Run
from qfbatch.flow.session import OpenSession, RunOptions, RunResult
from qfbatch.flow.signals import stop_on_signals
from qfbatch.flow.stopping import StopButton, address, nothing_succeeds
from qfbatch.job.settings import LOCAL as EMBEDDED
from qfbatch.job.settings import Job, ServiceSettings
from qfbatch.limits.combined import shared_out
from qfbatch.limits.gate import GateStatistics
from qfbatch.progress.events import Event, NodeEnded, Observer, Refused, RowsCommitted
from qfbatch.records import ErrorKind, Record
from qfbatch.tally import Tally, add_all

LOST_AFTER_S = 20.0
START_S = 180.0
NEWS_S = 0.2
NEWS_S_A_NODE = 0.002  # so that the driver hears of no more than 500 a second
LOST_IN_VAIN = 3  # nodes in a row, for one place, that came to nothing: the next would not either
_decode = msgspec.msgpack.Decoder(list[Record]).decode


def run_on_cluster(
    job: Job,
    options: RunOptions,
    *,
    address: str,
    nodes: int | None,
    environ: Mapping[str, str],
    observe: Observer,
    clocks: Clocks | None = None,
    button: StopButton | None = None,
    lost_after_s: float = LOST_AFTER_S,
) -> RunResult:
    """Run a job, or resume it, on a Ray cluster; returns when it has ended, however it ended.

    Args:
        job: the job.
        options: of this session.
        address: of the cluster; `local` starts one on this machine.
        nodes: how many processes are to work on it; None takes one for each machine.
        environ: where credentials, proxies and certificates are found.
        observe: takes what happens, everywhere.
        clocks: time and randomness.
        button: ends the run from another thread, as SIGINT does.
        lost_after_s: a node that is silent for so long is given up.

    Raises:
        InputError: the input is wrong, found before the first call.
        RunDirectoryError: the run directory cannot be used by several writers, or not at all.
        UsageError: there is no cluster, or the job needs what its machines do not have.
        ServiceRefused: there are no credentials.
    """
    if address != LOCAL and any(service.base_url == EMBEDDED for service in job.services):
        raise UsageError(
            "service.base_url: local is this machine's own server, which other machines do not reach",
            hint="Name a service that they reach, or use --ray local.",
        )
    clocks, button = clocks or Clocks(), button or StopButton()
    job, options = absolute_job(job), replace(options, shared=True)

    def carry_out(session: OpenSession, observe: Observer) -> RunResult:
        """Have the cluster's nodes do what the session has left."""
        with (
            service_addresses(job) as addresses,
            Engine(address, nodes) as engine,
            asyncio.Runner(loop_factory=new_event_loop) as loop,
        ):
            run = Driver(
                job,
                options,
                session,
                observe,
                clocks=clocks,
                button=button,
                engine=engine,
                lost_after_s=lost_after_s,
            )
            return loop.run(run.run(addresses, environ))

    return in_session(job, options, carry_out, now=clocks.now, observe=observe)


class Driver(Run):
    """See `Run`: others work; here it is dealt and counted.

    Args:
        job, options, session, observe, clocks, button: as of `Run`.
        engine: the cluster.
        lost_after_s: a node that is silent for so long is given up.
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
        engine: Engine,
        lost_after_s: float,
    ) -> None:
        super().__init__(job, options, session, observe, clocks=clocks, button=button)
        self._engine = engine
        self._lost_after_s = lost_after_s
        self._dealer = Dealer(session.work)
        self._logbook = logbook_of(session.layout, session.manifest.log_id)
        before = session.before
        self._allowances = Allowances(
            job.budget,
            spent_tokens=before.total_tokens + before.discarded_tokens,
            spent_cost=cost_toward_budget(job, before.spent),
        )
        self._lanes: dict[str, dict[str, GateStatistics]] = {}
        self._waiting: Counter[str] = Counter()
        self._asked_by: Counter[str] = Counter()
        self._breakers: dict[str, Breaker] = {}
        self._reached: set[str] = set()  # models whose service some node has reached
        self._refusals: set[tuple[str, str, ErrorKind, int | None]] = set()
        self._assignment: Assignment | None = None
        self._now = False
        self._over = asyncio.Event()  # nothing is left to be begun
        self._stop.on_request(self._over.set)

    async def run(self, addresses: Mapping[ServiceSettings, str], environ: Mapping[str, str]) -> RunResult:
        """Have all nodes work until nothing is left or the run is stopped."""
        loop = asyncio.get_running_loop()
        self._breakers = {model.name: self._breaker(model) for model in self._job.models}
        session_name = f"{len(self._session.manifest.sessions):06d}-{self._session.manifest.run_id[:8]}"
        self._assignment = Assignment(
            session_name,
            self._job,
            self._options,
            addresses,
            wanted_variables(self._job, environ),
            news_s=max(NEWS_S, self._engine.nodes * NEWS_S_A_NODE),
        )
        done = self._rows_with_record() - self._session.failed_again
        self._observe(started(self._session, rows=self._rows_in_all(), done=done))
        self._engine.start_limiter(f"{session_name}")
        self._engine.share(absolute_files(self._session.manifest))
        self._stop.on_request(self._dealer.stop)
        with stop_on_signals(
            loop, self._stop, grace_s=self._options.grace_s, now_or_never=self._end_now, button=self._button
        ):
            count = min(self._engine.nodes, self._job.limits.concurrency)
            tended = [
                loop.create_task(self._or_stop(self._tend(f"{session_name}-{place}")))
                for place in range(count)
            ]
            watching = (
                self._pulses(),
                self._announce_stop(self),
                self._watch_head(),
                self._or_stop(self._engine.check_limiter()),
            )
            watchers = [loop.create_task(watch) for watch in watching]
            try:
                await asyncio.gather(*tended)
            finally:
                for task in (*watchers, *tended):
                    task.cancel()
                await asyncio.gather(*watchers, *tended, return_exceptions=True)
        await asyncio.to_thread(self._count_again)
        self._observe(self._watch.pulse(self, loop.time()))
        return self._result()

    @property
    def in_flight(self) -> int:
        """Calls on their way, everywhere."""
        return sum(lanes[""].in_flight for lanes in self._lanes.values() if "" in lanes)

    @property
    def waiting(self) -> int:
        """Rows waiting to be admitted, everywhere."""
        return self._waiting.total()

    def statistics(self) -> dict[str, GateStatistics]:
        """All limits at this moment, of all nodes together."""
        names = ["", *(model.name for model in self._job.models)]
        found = {name: [lanes[name] for lanes in self._lanes.values() if name in lanes] for name in names}
        nothing = GateStatistics(in_flight=0, concurrency=0, paused_s=0.0, episodes=0, binding="")
        return {name: shared_out(shares) if shares else nothing for name, shares in found.items()}

    async def _or_stop(self, part: Coroutine[Any, Any, None]) -> None:
        """Do a part of the run; what makes it impossible stops the run."""
        try:
            await part
        except QfbatchError as error:
            self._stop.request(error)

    async def _tend(self, place: str) -> None:
        """Keep a node at work, and another in its place when it is lost.

        Raises:
            QfbatchError: a node cannot take part, or none lasts.
        """
        in_vain = attempt = 0
        while True:
            attempt += 1
            node = self._engine.new_node(f"{place}-{attempt}")
            self._dealer.join(node.name)
            before = self._asked_by.total()
            try:
                await self._attend(node)
            except (NodeLost, TimeoutError) as error:
                held = self._dealer.held_by(node.name)
                lost = str(error) or "it does not answer"
                self._observe(NodeEnded(node.name, lost, held))
            else:
                return
            finally:
                node.kill()
                self._forget(node.name)
            in_vain = 0 if self._asked_by.total() > before else in_vain + 1
            if self._stop.requested:
                return
            if in_vain >= LOST_IN_VAIN and self._lanes:
                return  # others are at work: they do it all
            if in_vain >= LOST_IN_VAIN:
                raise ClusterLost(
                    f"{in_vain} nodes in a row came to nothing: {lost}",
                    hint="Check the cluster (`ray status`), then run the same command again to resume.",
                )

    async def _attend(self, node: NodeActor) -> None:
        """From a node's start to its end.

        Raises:
            NodeLost, TimeoutError: it died, or does not answer.
            QfbatchError: it cannot take part.
        """
        assert self._assignment is not None, "there is something to do"  # noqa: S101
        assignment = replace(self._assignment, name=node.name)
        if not await self._has_begun(node, assignment):
            return
        news = News()
        while not news.ended:
            news = await asyncio.wait_for(node.exchange(self._orders(node.name, news)), self._lost_after_s)
            self._take(node.name, news)
        if news.fault:
            raise NodeLost(news.fault)
        if news.reason is None:
            return
        # What others reach is not down: this node is on the wrong machine, or was at the wrong time.
        alone = not self._stop.requested and self._reached.intersection(news.cut_off)
        if alone or isinstance(news.reason, Fenced):
            raise NodeLost(news.reason.message)
        self._stop.request(news.reason)

    async def _has_begun(self, node: NodeActor, assignment: Assignment) -> bool:
        """Wait until a node begins; False where there is nothing left for it by then."""
        start = asyncio.create_task(node.start(assignment, self._engine.limiter))
        over = asyncio.create_task(self._over.wait())
        try:
            await asyncio.wait({start, over}, timeout=START_S, return_when=asyncio.FIRST_COMPLETED)
            if start.done():
                start.result()
                return True
            if not over.done():
                raise NodeLost(f"it did not begin within {START_S:g} s; is there a free CPU?")
            return False
        finally:
            start.cancel()
            over.cancel()

    def _orders(self, node: str, news: News) -> Orders:
        orders = self._dealer.orders(node)
        orders.budget = self._allowances.exchange(node, news.spending)
        used_up = self._allowances.used_up() if self._budget.limited else None
        if used_up is not None:
            hint = "Raise the budget, then run the same command again to resume."
            self._stop.request(BudgetReached(used_up, hint=hint))
        orders.stop, orders.now = self._stop.reason, self._now
        return orders

    def _take(self, node: str, news: News) -> None:
        for model, dropped in news.retried:
            self._tallies[model].replace_failed(dropped)
        for group in news.committed:
            records = _decode(group)
            add_all(self._tallies, records)
            self._observe(RowsCommitted(records))
        for event in filter(self._is_news, news.events):
            self._observe(event)
        self._judge(news)
        self._lanes[node] = news.lanes
        self._waiting[node] = news.waiting
        self._asked_by[node] = news.asked
        self._logbook.learn(news.logs)
        self._dealer.news(node, news)
        if self._dealer.finished:
            self._over.set()

    def _judge(self, news: News) -> None:
        """One breaker a model for all nodes: what fails at one and succeeds at another goes on."""
        now = asyncio.get_running_loop().time()
        for model, failure, row_id in news.outcomes:
            breaker = self._breakers[model]
            if failure is None or failure.kind is not ErrorKind.CONNECTION:
                self._reached.add(model)
            if failure is None:
                breaker.succeeded()
                continue
            failed = breaker.row_failed(failure) if row_id is None else breaker.failed(failure, now, row_id)
            if failed is not None:
                self._stop.request(nothing_succeeds(self._where(model), failed))

    def _where(self, model: str) -> str:
        """A model, and where it is asked if that is one place."""
        assert self._assignment is not None, "nodes are at work"  # noqa: S101
        settings = next(settings for settings in self._job.models if settings.name == model)
        endpoint, *others = self._job.endpoints_of(settings)
        if others:
            return f"model {model}"
        at = address(self._assignment.addresses[endpoint.service])
        return f"model {model} (endpoint {endpoint.name}) at {at}"

    def _is_news(self, event: Event) -> bool:
        """Whether observers have not been told: every node meets the same refusal of the job."""
        if not isinstance(event, Refused):
            return True
        refusal = event.model, event.endpoint, event.kind, event.code
        known = refusal in self._refusals
        self._refusals.add(refusal)
        return not known

    def _forget(self, node: str) -> None:
        self._dealer.lose(node)
        self._allowances.leave(node)
        self._engine.forget(node)
        self._lanes.pop(node, None)
        self._waiting.pop(node, None)

    def _end_now(self) -> None:
        self._now = True

    async def _pulses(self) -> None:
        while True:
            self._observe(self._watch.pulse(self, asyncio.get_running_loop().time()))
            await asyncio.sleep(PULSE_S)

    async def _watch_head(self) -> None:
        """End the run in order when Ray's head is lost: nodes go on without it, until Ray ends them."""
        await until_lost(self._engine.head_answers)
        self._stop.request(head_lost())
        await asyncio.sleep(END_WITHOUT_HEAD_S)
        self._end_now()

    def _count_again(self) -> None:
        """What a node committed just before it was lost, it could not tell: in the end the log counts.

        It does not say which failed rows were asked again. Of what is left, neither it nor what nodes told
        says too little, so the lower one counts.
        """
        self._asked = self._asked_by.total()
        for name, standing in CommittedRows(self._session.layout).read(self._session.manifest).items():
            if name in self._tallies:
                before = self._session.standing[name]
                left = min(self._tallies[name].left, before.left + before.rows - standing.rows)
                left = 0 if self._dealer.finished else max(0, left)
                tally = Tally(msgspec.structs.replace(standing, left=left))
                tally.asked = self._tallies[name].asked
                self._tallies[name] = tally


__all__ = ["Driver", "run_on_cluster"]
