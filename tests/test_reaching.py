"""Connecting to a host of which some addresses do not answer."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Iterator

import pytest

from qfbatch.flow.eventloop import new_event_loop
from qfbatch.transport.reaching import Address, addresses_of, by_turns, reach

V4, V6 = socket.AF_INET, socket.AF_INET6
LOOPS = pytest.mark.parametrize("loop_factory", [new_event_loop, asyncio.new_event_loop])
LoopFactory = Callable[[], asyncio.AbstractEventLoop]


@pytest.fixture
def listening() -> Iterator[Address]:
    """An address that somebody listens at."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield Address(V4, server.getsockname())


@pytest.fixture
def silent() -> Iterator[Address]:
    """An address that says nothing, not even no: whoever listens there takes no more connections."""
    with contextlib.ExitStack() as kept:
        server = kept.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(4):  # more than its queue holds
            waiting = kept.enter_context(socket.socket())
            waiting.settimeout(0)
            waiting.connect_ex(server.getsockname())
        yield Address(V4, server.getsockname())


@pytest.fixture
def refusing() -> Address:
    """An address that nobody listens at."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return Address(V4, server.getsockname())


def reached(loop_factory: LoopFactory, *addresses: Address, stagger_s: float = 0.01) -> Address:
    """The address that is connected to."""

    async def connect() -> Address:
        async with asyncio.timeout(5):
            connected = await reach(addresses, stagger_s=stagger_s)
        with connected:
            return Address(connected.family, connected.getpeername())

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        return runner.run(connect())


@LOOPS
def test_a_silent_address_is_passed_over(
    loop_factory: LoopFactory, silent: Address, listening: Address
) -> None:
    """A first address that does not answer costs a moment, not the connection."""
    assert reached(loop_factory, silent, listening) == listening


@LOOPS
def test_a_refusing_address_costs_no_time(
    loop_factory: LoopFactory, refusing: Address, listening: Address
) -> None:
    """After a refusal the next address is tried at once: `localhost` is often ::1 first, the service not."""
    assert reached(loop_factory, refusing, listening, stagger_s=3600.0) == listening


@LOOPS
def test_the_first_address_that_answers_is_taken(
    loop_factory: LoopFactory, refusing: Address, listening: Address
) -> None:
    """Others are left alone."""
    assert reached(loop_factory, listening, refusing, stagger_s=3600.0) == listening


@LOOPS
@pytest.mark.parametrize("count", [1, 3])
def test_no_address_takes_a_connection(loop_factory: LoopFactory, refusing: Address, count: int) -> None:
    """The error is one of the addresses' own, so that it can be told what is wrong."""
    with pytest.raises(ConnectionRefusedError):
        reached(loop_factory, *[refusing] * count)


def test_families_take_turns() -> None:
    """Where one of the two protocols has no way out, the other is tried second, not after all addresses."""
    found = [Address(V6, "a"), Address(V6, "b"), Address(V6, "c"), Address(V4, "d")]
    assert by_turns(found) == [found[0], found[3], found[1], found[2]]


def test_addresses_of_this_machine() -> None:
    """Names and numbers are both known."""
    found = asyncio.run(addresses_of("127.0.0.1", 81))
    assert found == [Address(V4, ("127.0.0.1", 81))]
    assert found[0] in asyncio.run(addresses_of("localhost", 81))
