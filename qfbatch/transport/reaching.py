"""Connecting to a host of several addresses: RFC 8305, in short.

A host's first address may be one that nothing answers at (IPv6 without a way out, a machine that is gone).
Another address is therefore tried when the one before fails, or stays silent for a moment; whichever is
connected first is taken.
"""

from __future__ import annotations

import asyncio
import itertools
import socket
from collections import defaultdict
from collections.abc import Coroutine, Iterable, Sequence
from typing import Any, NamedTuple

STAGGER_S = 0.25  # RFC 8305, section 5: "Connection Attempt Delay"


class Address(NamedTuple):
    """Where a socket can connect to.

    Attributes:
        family: of the address.
        sockaddr: the address itself, as `socket.connect` takes it.
    """

    family: int
    sockaddr: Any


async def addresses_of(host: str, port: int) -> list[Address]:
    """The addresses of a host, the preferred first, of either family by turns.

    Raises:
        socket.gaierror: the name is not known.
        UnicodeError: it can be nobody's name.
    """
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return by_turns(dict.fromkeys(Address(family, sockaddr) for family, _, _, _, sockaddr in found))


def by_turns(addresses: Iterable[Address]) -> list[Address]:
    """The addresses of each family in their order, one of each after the other."""
    families: dict[int, list[Address]] = defaultdict(list)
    for address in addresses:
        families[address.family].append(address)
    turns = itertools.zip_longest(*families.values())
    return [address for turn in turns for address in turn if address is not None]


async def reach(addresses: Sequence[Address], *, stagger_s: float = STAGGER_S) -> socket.socket:
    """A socket connected to one of the addresses.

    Args:
        addresses: at least one, in the order they are tried.
        stagger_s: how long one may stay silent before the next is tried beside it, seconds.

    Raises:
        OSError: none can be connected to; of their errors the most telling.
    """
    if len(addresses) == 1:
        return await _connected(addresses[0])
    waiting = [_connected(address) for address in reversed(addresses)]
    trying: set[asyncio.Task[socket.socket]] = set()
    errors: list[OSError] = []
    try:
        while trying or waiting:
            if waiting:
                trying.add(asyncio.ensure_future(waiting.pop()))
            done, trying = await asyncio.wait(
                trying, timeout=stagger_s if waiting else None, return_when=asyncio.FIRST_COMPLETED
            )
            reached, failed = _sorted(done)
            errors += failed
            for late in reached[1:]:
                late.close()
            if reached:
                return reached[0]
    finally:
        _give_up(trying, waiting)
    raise next((error for error in errors if type(error) is not OSError), errors[0])


def _sorted(done: Iterable[asyncio.Task[socket.socket]]) -> tuple[list[socket.socket], list[OSError]]:
    """The sockets that are connected, and why others are not."""
    reached: list[socket.socket] = []
    failed: list[OSError] = []
    for task in done:
        try:
            reached.append(task.result())
        except OSError as error:
            failed.append(error)
    return reached, failed


def _give_up(
    trying: Iterable[asyncio.Task[socket.socket]], waiting: Iterable[Coroutine[Any, Any, socket.socket]]
) -> None:
    """Nobody waits for these any more; one that is connected all the same is closed."""
    for untried in waiting:
        untried.close()
    for task in trying:
        task.cancel()
        task.add_done_callback(_close_result)


def _close_result(task: asyncio.Task[socket.socket]) -> None:
    if not task.cancelled() and task.exception() is None:
        task.result().close()


async def _connected(address: Address) -> socket.socket:
    """A socket connected to this address.

    Raises:
        OSError: it cannot be.
    """
    connecting = socket.socket(address.family, socket.SOCK_STREAM)
    try:
        connecting.settimeout(0)  # never blocks
        await asyncio.get_running_loop().sock_connect(connecting, address.sockaddr)
    except BaseException:
        connecting.close()
        raise
    return connecting
