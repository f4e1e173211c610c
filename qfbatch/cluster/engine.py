"""Ray, as a run uses it: actors started, called and killed. Extra `ray`."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, Self

# Nothing is ever reported to Ray's makers. Read when the package is imported.
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"

import ray
from ray._private import ray_constants
from ray._private.services import canonicalize_bootstrap_address
from ray.exceptions import RayError

from qfbatch._version import __version__
from qfbatch.checkpoint.manifest import Manifest
from qfbatch.cluster.limiter import Dealt
from qfbatch.cluster.limiter_actor import LimiterActor
from qfbatch.cluster.messages import Assignment, News, Orders
from qfbatch.cluster.node import Node
from qfbatch.cluster.reach import check_reachable, no_cluster
from qfbatch.errors import ClusterLost, QfbatchError, UsageError
from qfbatch.limits.quota import Quota
from qfbatch.limits.shares import Usage

LOCAL = "local"
NAMESPACE = "qfbatch"
_OBJECT_STORE_BYTES = 100 * 2**20  # messages are small; Ray takes at least 75 MiB
_LIMITER_STARTS = 3  # to ask it for its version, before that is a reason to stop
_LEAST_LOCAL_NODES = 2
_MOST_LOCAL_NODES = 4
_SHORT = 250
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_START = "Run the same command again; if it fails again, without --ray: one process is as safe."
_TAKE_PART = (
    "A run is started on a machine of the cluster (`ray start --address=HOST:PORT` makes this one such), "
    "with the cluster's versions of Ray and Python."
)


class NodeLost(Exception):  # noqa: N818 - reads as what happened
    """A node has died, or does not answer."""


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
    """A node, as the driver knows it; there is none before it is started.

    Args:
        name: its name.
        manifest: the run's, as Ray knows it.
    """

    def __init__(self, name: str, manifest: Any) -> None:
        self._actor: Any = None
        self._manifest = manifest
        self.name = name
        self.pid = 0

    async def start(self, assignment: Assignment, limiter: Any) -> None:
        """Have a process for it, where there is room, and have it begin.

        Raises:
            NodeLost: it died.
            QfbatchError: it cannot take part; the message says why.
        """
        options = {"num_cpus": 1, "max_restarts": 0, "scheduling_strategy": "SPREAD"}
        options["name"] = f"node-{self.name}"
        try:
            self._actor = await _off_the_loop(lambda: ray.remote(Node).options(**options).remote())
            version = await self._actor.version.remote()
            _check_version(version, "a node")
            ask = AskLimiter(limiter, self.name)
            found = await self._actor.start.remote(assignment, self._manifest, ask)
        except (RayError, ConnectionError, RuntimeError) as error:
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
        if (actor := self._actor) is not None:
            threading.Thread(target=_kill, args=(actor,), name="qfbatch-kill", daemon=True).start()


def _check_version(version: str, where: str) -> None:
    """Refuse to work with another version; what is said is of one's own classes.

    Raises:
        UsageError: it is another.
    """
    if version != __version__:
        raise UsageError(
            f"{where} has qfbatch {version}, the driver {__version__}",
            hint="Install the same version everywhere, with the same extras.",
        )


def _kill(actor: Any) -> None:
    with suppress(RayError, ValueError, RuntimeError):  # gone, as it is to be; or Ray is
        ray.kill(actor)


async def _off_the_loop(call: Callable[[], Any]) -> Any:
    """The result of a call that stands still for as long as Ray's head does not answer.

    In a thread that nobody waits for at the end, unlike those of the loop's own pool.
    """
    loop = asyncio.get_running_loop()
    found: asyncio.Future[Any] = loop.create_future()

    def tell(result: Any, error: BaseException | None) -> None:
        """On the loop: hand over what came of it, unless nobody waits any more."""
        if found.done():
            return
        if error is None:
            found.set_result(result)
        else:
            found.set_exception(error)

    def work() -> None:
        """In the thread: call, and have the loop told."""
        result, error = None, None
        try:
            result = call()
        except BaseException as raised:  # noqa: BLE001 - raised where it is awaited
            error = raised
        with suppress(RuntimeError):  # the loop is closed: the run has ended meanwhile
            loop.call_soon_threadsafe(tell, result, error)

    threading.Thread(target=work, name="qfbatch-ray", daemon=True).start()
    return await found


class Engine:
    """A Ray cluster, as a context manager: joined, or started on this machine.

    Args:
        address: of the cluster (`HOST:PORT`, `auto`), or `local` to start one.
        nodes: how many nodes the run is to have; None takes one for each machine of the cluster.
    """

    def __init__(self, address: str, nodes: int | None) -> None:
        self._address = address
        self._nodes = nodes
        self._head = ""
        self._manifest: Any = None
        self.limiter: Any = None

    def __enter__(self) -> Self:
        if ray.is_initialized():
            raise UsageError(
                "this process uses Ray already", hint="Call ray.shutdown() before, or use another process."
            )
        with _loopback_as_it_is():
            self._join()
        return self

    def _join(self) -> None:
        options: dict[str, Any] = {"address": self._address}
        if self._address != LOCAL:
            options["address"] = _head_of(self._address)
        else:
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
            with _own_sigterm():
                joined = ray.init(
                    **options, namespace=NAMESPACE, log_to_driver=False, logging_level=logging.CRITICAL
                )
        except Exception as error:  # what Ray raises here is of many kinds, bare ones among them
            ray.shutdown()
            is_local = self._address == LOCAL
            what = "Ray does not start" if is_local else "this machine cannot take part"
            raise UsageError(
                f"--ray {self._address}: {what}: {_short(error)}",
                hint=_START if is_local else _TAKE_PART,
            ) from error
        self._head = joined.address_info["gcs_address"]
        self._nodes = self._nodes or sum(bool(node["Alive"]) for node in ray.nodes())

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

    def head_answers(self) -> bool:
        """Whether the cluster's head can be reached just now; blocks for seconds at most."""
        try:
            check_reachable(self._head, tls=_speaks_tls())
        except UsageError:
            return False
        return True

    def start_limiter(self, run: str) -> None:
        """Start the run's limiter.

        Args:
            run: names this session of the run among all that ever were.
        """
        options = {"num_cpus": 0, "max_restarts": -1, "max_task_retries": 0, "name": f"limiter-{run}"}
        self.limiter = ray.remote(LimiterActor).options(**options).remote(self.nodes)

    def share(self, manifest: Manifest) -> None:
        """Have the manifest where nodes can get it: where shards are many, megabytes, sent to a machine once.

        It holds no secrets. What does goes to each node in its own call, and so never through Ray's store of
        objects, which may put what is large on a disk.
        """
        self._manifest = ray.put(manifest)

    async def check_limiter(self) -> None:
        """Wait until the limiter is there.

        Raises:
            UsageError: it is of another version.
            ClusterLost: it does not start.
        """
        for _ in range(_LIMITER_STARTS):
            try:
                version = await self.limiter.version.remote()
            except RayError as error:
                lost = _short(error)
                await asyncio.sleep(1.0)
            else:
                _check_version(version, "the machine of the limiter")
                return
        raise ClusterLost(
            f"the limiter does not start: {lost}",
            hint="Every machine of the cluster needs qfbatch[ray], the head too; then run the command again.",
        )

    def new_node(self, name: str) -> NodeActor:
        """A further node, still without a process."""
        return NodeActor(name, self._manifest)

    def forget(self, name: str) -> None:
        """Tell the limiter that a node is gone."""
        self.limiter.leave.remote(name)


@contextmanager
def _loopback_as_it_is() -> Iterator[None]:
    """Have 127.0.0.1 mean itself, here and in processes that are started meanwhile.

    Ray takes this machine's address in the network for it, and then listens on all interfaces; not so where
    it is told to make no clusters of machines.
    """
    before = ray_constants.ENABLE_RAY_CLUSTER, os.environ.get("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER")
    ray_constants.ENABLE_RAY_CLUSTER = False
    os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER, variable = before
        if variable is None:
            del os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"]
        else:
            os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = variable


def _head_of(address: str) -> str:
    """The address of a cluster's head, at which something that speaks its language answers.

    Raises:
        UsageError: there is none.
    """
    try:
        head = str(canonicalize_bootstrap_address(address))
    except (ConnectionError, ValueError, OSError) as error:
        raise no_cluster(address, _short(error)) from None
    check_reachable(head, tls=_speaks_tls())
    return head


def _speaks_tls() -> bool:
    return os.environ.get("RAY_USE_TLS", "0").lower() in ("1", "true")


@contextmanager
def _own_sigterm() -> Iterator[None]:
    """Joining a cluster replaces the process's answer to SIGTERM: put it back, whatever it was."""
    handler = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, signal.SIG_DFL if handler is None else handler)


def _short(error: BaseException) -> str:
    """What Ray says of an error: all, or of a long story its beginning and its end, where the reason is."""
    told = _COLOURS.sub("", str(error)).splitlines()
    lines = [" ".join(line.split()) for line in told if line.strip()] or [type(error).__name__]
    whole = " ".join(lines)
    return whole if len(whole) <= _SHORT else f"{lines[0][:100]} … {lines[-1][-200:]}"


__all__ = ["LOCAL", "Engine", "NodeActor", "NodeLost"]
