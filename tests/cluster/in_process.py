"""A stand-in for the cluster: real driver, real limiter, real nodes, all in this process and without Ray."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from qfbatch.checkpoint.manifest import Manifest
from qfbatch.cluster.driver import Driver
from qfbatch.cluster.engine import NodeLost
from qfbatch.cluster.limiter import Dealt, Limiter
from qfbatch.cluster.messages import Assignment, News, Orders
from qfbatch.cluster.node import Node
from qfbatch.flow.connecting import service_addresses
from qfbatch.flow.runner import Clocks, RunResult
from qfbatch.flow.session import RunOptions, open_session
from qfbatch.flow.stopping import StopButton
from qfbatch.job.load import load_job
from qfbatch.limits.quota import Quota
from qfbatch.limits.shares import Usage
from qfbatch.progress.events import Observer


class LocalNode:
    """See `engine.NodeActor`; counts what it made of other nodes' rows.

    Args:
        name: its name.
        manifest: the run's.
        dies_lent: whether it is lost, and its process with it, once it has rows of another node.
        cut_off: whether it is where the service cannot be reached.
    """

    def __init__(
        self, name: str, manifest: Manifest, *, dies_lent: bool = False, cut_off: bool = False
    ) -> None:
        self.name = name
        self._manifest = manifest
        self.worked = 0
        self.lost = False
        self._dies_lent = dies_lent
        self._cut_off = cut_off
        self._owns = False
        self._node = Node(leave=lambda _: None)

    async def start(self, assignment: Assignment, limiter: Limiter) -> None:
        """Begin."""

        async def ask(usages: Mapping[str, tuple[Quota, Usage]]) -> Dealt:
            return limiter.exchange(self.name, usages)

        if self._cut_off:
            nowhere = dict.fromkeys(assignment.addresses, "http://127.0.0.1:9")
            assignment = replace(assignment, addresses=nowhere)
        found = await self._node.start(assignment, self._manifest, ask)
        assert isinstance(found, int), found

    async def exchange(self, orders: Orders) -> News:
        """Give orders, take news."""
        news = await self._node.exchange(orders)
        self.worked += len(news.worked)
        self._owns |= any(not work.requests for _, work in orders.work)
        if self._dies_lent and not self._owns and any(work.requests for _, work in orders.work):
            self.lost = True
            raise NodeLost("killed")
        return news

    def kill(self) -> None:
        """As a process ends: in the middle of whatever it does."""
        if self.lost and self._node._ending is not None:
            self._node._ending.cancel()


class LocalEngine:
    """See `engine.Engine`."""

    limiter: Limiter
    _manifest: Manifest

    def __init__(self, nodes: int, *, lose_a_helper: bool = False, cut_one_off: bool = False) -> None:
        self.nodes = nodes
        self._cut_one_off = cut_one_off
        self.started: list[LocalNode] = []
        self._lose_a_helper = lose_a_helper

    def start_limiter(self, run: str) -> None:
        """Start the run's limiter."""
        del run
        self.limiter = Limiter(again=False, nodes=self.nodes)

    def share(self, manifest: Manifest) -> None:
        """Have it for nodes."""
        self._manifest = manifest

    async def check_limiter(self) -> None:
        """It is there."""

    def new_node(self, name: str) -> LocalNode:
        """A further node: where asked for, first ones are lost as helpers, or the very first is cut off."""
        dies = self._lose_a_helper and len(self.started) < self.nodes
        cut_off = self._cut_one_off and not self.started
        self.started.append(LocalNode(name, self._manifest, dies_lent=dies, cut_off=cut_off))
        return self.started[-1]

    def forget(self, name: str) -> None:
        """A node is gone."""
        self.limiter.leave(name)

    @staticmethod
    def head_answers() -> bool:
        """There is no head that could be lost."""
        return True


def run_in_process(
    job_file: Path,
    engine: LocalEngine,
    environ: Mapping[str, str],
    *,
    options: RunOptions | None = None,
    observe: Observer = lambda _: None,
    button: StopButton | None = None,
) -> RunResult:
    """Run a job on the nodes of this process."""
    job = load_job(job_file, environ=environ)
    options = replace(options or RunOptions(), shared=True)
    clocks = Clocks()
    with open_session(job, options, now=clocks.now) as session:
        standing: Any = engine  # what a driver needs of one
        driver = Driver(
            job,
            options,
            session,
            observe,
            clocks=clocks,
            button=button or StopButton(),
            engine=standing,
            lost_after_s=60.0,
        )
        with service_addresses(job) as addresses:
            return asyncio.run(driver.run(addresses, environ))
