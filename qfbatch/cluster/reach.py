"""Whether a Ray cluster's head answers, found out in seconds: Ray's own tries take minutes."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

from qfbatch.errors import ClusterLost, UsageError

PATIENCE_S = 5.0
# Ray ends all processes of a cluster that have not reached its head for 60 s, the driver without a word.
HEAD_LOST_AFTER_S = 20.0
END_WITHOUT_HEAD_S = 30.0
_GLANCE_S = 2.0
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\x04\0\0\0\0\0"  # RFC 9113, 3.4: and empty SETTINGS
_HEAD_BYTES = 9
_SETTINGS = 4  # what the other side's first frame has to be, in the fourth byte of its head


def check_reachable(address: str, *, tls: bool) -> None:
    """Refuse an address where nobody, or something else than Ray's head, answers.

    The head speaks gRPC, so HTTP/2. Its other ports (dashboard, client server) are the usual mistakes.

    Args:
        address: `HOST:PORT`.
        tls: whether Ray is set to speak TLS; then only the connection is tried.

    Raises:
        UsageError: there is no cluster.
    """
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or "/" in host:
        raise no_cluster(address, "this is not HOST:PORT")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=PATIENCE_S) as connection:
            if tls:
                return
            connection.sendall(_PREFACE)
            with connection.makefile("rb") as answer:
                head = answer.read(_HEAD_BYTES)
    except TimeoutError:
        raise no_cluster(address, f"it does not answer within {PATIENCE_S:g} s") from None
    except (OSError, OverflowError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise no_cluster(address, reason) from None
    if len(head) < _HEAD_BYTES or head[3] != _SETTINGS:
        raise no_cluster(address, "what listens there is not Ray's head, whose port is 6379 by default")


async def until_lost(answers: Callable[[], bool]) -> None:
    """Wait until a head has not answered for `HEAD_LOST_AFTER_S`.

    Args:
        answers: whether it does; may block, for it is called in a thread.
    """
    loop = asyncio.get_running_loop()
    seen_at = loop.time()
    while loop.time() - seen_at < HEAD_LOST_AFTER_S:
        await asyncio.sleep(_GLANCE_S)
        asked_at = loop.time()
        if await asyncio.to_thread(answers):
            seen_at = asked_at


def head_lost() -> ClusterLost:
    """The end of a run whose cluster is lost."""
    return ClusterLost(
        f"Ray's head has not answered for {HEAD_LOST_AFTER_S:g} s",
        hint="Start the cluster again, or another one, then resume with its address.",
    )


def no_cluster(address: str, reason: str) -> UsageError:
    """The error about an address where no run can begin."""
    return UsageError(
        f"--ray {address}: no Ray cluster can be reached there: {reason}",
        hint="Start one (`ray start --head`), name its HOST:PORT, or use --ray local.",
    )


__all__ = ["END_WITHOUT_HEAD_S", "PATIENCE_S", "check_reachable", "head_lost", "no_cluster", "until_lost"]
