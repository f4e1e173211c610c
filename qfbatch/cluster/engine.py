"""Ray, as a run uses it: actors started, called and killed. The only module that knows it; extra `ray`."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from typing import Any, Self

# Nothing is ever reported to Ray's makers. Read when the package is imported.
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"

import ray
from ray.exceptions import RayError

from qfbatch.cluster.limiter import Dealt, Limiter
from qfbatch.cluster.messages import Assignment, News, Orders
from qfbatch.cluster.node import Node
from qfbatch.errors import ClusterLost, QfbatchError, UsageError
from qfbatch.limits.quota import Quota
from qfbatch.limits.shares import Usage

LOCAL = "local"
NAMESPACE = "qfbatch"
_OBJECT_STORE_BYTES = 100 * 2**20  # messages are small; Ray takes at least 75 MiB
_LEAST_LOCAL_NODES = 2
_MOST_LOCAL_NODES = 4


class NodeLost(Exception):  # noqa: N818 - reads as what happened
    """A node has died, or does not answer."""


class LimiterActor(Limiter):
    """See `Limiter`; Ray starts it again, anywhere, when its process or machine is lost."""

    def __init__(self) -> None:
        super().__init__(again=ray.get_runtime_context().was_current_actor_reconstructed)


class AskLimiter:
    """See `leases.Ask`; travels to the node.

    Args:
        limiter: the actor.
        node: whose reports these are.
    """

    def __init__(self, limiter: Any, node: str) -> None:
        self._limiter = limiter
        self._node = node

    async def __call__(self, usages: Mapping[str, tuple[Quota, Usage]]) -> Dealt:
        """Report, and return what is dealt.

        Raises:
            RayError: the limiter is gone, or on its way back.
        """
        dealt: Dealt = await self._limiter.exchange.remote(self._node, dict(usages))
        return dealt


class NodeActor:
    """A node, as the driver knows it.

    Args:
        actor: its handle.
        name: its name.
    """

    def __init__(self, actor: Any, name: str) -> None:
        self._actor = actor
        self.name = name
        self.pid = 0

    async def start(self, assignment: Assignment, limiter: Any) -> None:
        """Have it begin.

        Raises:
            NodeLost: it died.
            QfbatchError: it cannot take part; the message says why.
        """
        try:
            found = await self._actor.start.remote(assignment, AskLimiter(limiter, self.name))
        except RayError as error:
            raise NodeLost(_short(error)) from None
        if isinstance(found, QfbatchError):
            raise found
        self.pid = found

    async def exchange(self, orders: Orders) -> News:
        """Give orders, take news.

        Raises:
            NodeLost: it died.
        """
        try:
            news: News = await self._actor.exchange.remote(orders)
        except RayError as error:
            raise NodeLost(_short(error)) from None
        return news

    def kill(self) -> None:
        """End its process, if it lives."""
        ray.kill(self._actor)


class Engine:
    """A Ray cluster, as a context manager: joined, or started on this machine.

    Args:
        address: of the cluster (`HOST:PORT`, `auto`), or `local` to start one.
        nodes: how many nodes the run is to have; None takes one for each machine of the cluster.
    """

    def __init__(self, address: str, nodes: int | None) -> None:
        self._address = address
        self._nodes = nodes
        self.limiter: Any = None

    def __enter__(self) -> Self:
        options: dict[str, Any] = {"address": self._address}
        if self._address == LOCAL:
            cores = os.cpu_count() or 1
            self._nodes = self._nodes or max(_LEAST_LOCAL_NODES, min(cores, _MOST_LOCAL_NODES))
            # The address "local" is not taken from RAY_ADDRESS, so that a cluster of others stays alone.
            options |= {
                "num_cpus": self._nodes,
                "include_dashboard": False,
                "_node_ip_address": "127.0.0.1",  # nobody else is to reach it
                "object_store_memory": _OBJECT_STORE_BYTES,
            }
        try:
            ray.init(**options, namespace=NAMESPACE, log_to_driver=False, logging_level=logging.CRITICAL)
        except (ConnectionError, ValueError, RuntimeError, OSError) as error:
            raise UsageError(
                f"--ray {self._address}: no Ray cluster can be reached there: {_short(error)}",
                hint="Start one (`ray start --head`), name its HOST:PORT, or use --ray local.",
            ) from error
        self._nodes = self._nodes or sum(bool(node["Alive"]) for node in ray.nodes())
        return self

    def __exit__(self, *_: object) -> None:
        ray.shutdown()

    @property
    def nodes(self) -> int:
        """How many nodes the run is to have."""
        return self._nodes or 1

    @property
    def is_local(self) -> bool:
        """Whether everything is on this machine."""
        return self._address == LOCAL

    def start_limiter(self, run: str) -> None:
        """Start the run's limiter.

        Args:
            run: names this session of the run among all that ever were.
        """
        options = {"num_cpus": 0, "max_restarts": -1, "max_task_retries": 0, "name": f"limiter-{run}"}
        self.limiter = ray.remote(LimiterActor).options(**options).remote()

    def new_node(self, name: str) -> NodeActor:
        """A further node, where there is room for it."""
        options = {"num_cpus": 1, "max_restarts": 0, "scheduling_strategy": "SPREAD", "name": f"node-{name}"}
        try:
            return NodeActor(ray.remote(Node).options(**options).remote(), name)
        except (RayError, ConnectionError, RuntimeError) as error:
            raise ClusterLost(
                f"the Ray cluster is lost: {_short(error)}", hint="Run the same command again to resume."
            ) from error

    def forget(self, name: str) -> None:
        """Tell the limiter that a node is gone."""
        self.limiter.leave.remote(name)


def _short(error: BaseException) -> str:
    return " ".join(str(error).split())[:200]


__all__ = ["LOCAL", "Engine", "NodeActor", "NodeLost"]
