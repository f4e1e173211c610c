"""Clients that hang up, send half, send too much or send rubbish; and how an answer leaves."""

from __future__ import annotations

import asyncio
import json
import socket
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from scripted import COMPLETIONS, ScriptedServer
from uvicorn.server import ServerState

from qfbatch.server.connection import Connection, OneWriteTransport, close_stalled

LIMIT = 16 * 1024 * 1024


def connect(server: ScriptedServer) -> socket.socket:
    """A bare connection."""
    return socket.create_connection(("127.0.0.1", int(server.base_url.rpartition(":")[2])), timeout=30)


def head(endpoint: str, length: int) -> bytes:
    """The head of a completions request."""
    return f"POST {COMPLETIONS}{endpoint} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n".encode()


def read_all(connection: socket.socket) -> bytes:
    """Everything until the server closes."""
    received = b""
    while chunk := connection.recv(65536):
        received += chunk
    return received


def still_answers(server: ScriptedServer) -> bool:
    """Whether the server is well."""
    return server.ask("echo", {"prompt": "well?"})[0] == 200


def memory_kb(pid: int) -> int:
    """The most memory a process has held."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0])


def test_hang_ups_do_no_harm(server: ScriptedServer) -> None:
    """Clients that leave before, within or after their request do not disturb the others."""
    body = json.dumps({"prompt": "x {{answer: delay=0.05}}"}).encode()
    whole = head("echo", len(body)) + body
    for part in (b"", whole[:10], whole[:-5], whole):
        for _ in range(5):
            with connect(server) as connection:
                connection.sendall(part)
    assert still_answers(server)


def test_answer_of_a_gone_client_is_billed(server: ScriptedServer) -> None:
    """Like the service, the scripted engine makes and counts an answer whose client has left."""
    endpoint = server.endpoint("echo,delay=0.1")
    body = b'{"prompt":"bye"}'
    with connect(server) as connection:
        connection.sendall(head(endpoint, len(body)) + body)
        while not server.traffic(endpoint):
            pass
    while server.traffic(endpoint)["in_flight"]:
        pass
    assert server.calls(endpoint) == {"bye": (1, 1)}


def test_hundred_megabytes(server: ScriptedServer) -> None:
    """A body of 100 MB gets the service's error and a closed connection, and is never held in memory."""
    chunk = b"x" * 1_000_000
    before = memory_kb(server.pid)
    with connect(server) as connection:
        connection.sendall(head("echo", 100 * len(chunk)))
        for _ in range(100):
            connection.sendall(chunk)
        answer = read_all(connection)
    assert b"connection: close" in answer
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["error_code"] == 336007
    assert memory_kb(server.pid) - before < 80_000
    assert still_answers(server)


def test_body_limit_is_exact(server: ScriptedServer) -> None:
    """A body of the limit's size is read, one byte more is not."""
    frame = len(b'{"prompt":"{{fault: 18}}"}')
    for extra, code in ((0, 18), (1, 336007)):
        body = b'{"prompt":"{{fault: 18}}%b"}' % (b"x" * (LIMIT - frame + extra))
        assert json.loads(server.ask("echo", body)[2])["error_code"] == code


@pytest.mark.parametrize(
    "rubbish", [b"\x16\x03\x01\x02\x00\x01\x00", b"GET\r\n\r\n", b"POST / HTTP/9\r\n\r\n"]
)
def test_rubbish(server: ScriptedServer, rubbish: bytes) -> None:
    """What is not HTTP is refused and the connection closed."""
    with connect(server) as connection:
        connection.sendall(rubbish)
        assert read_all(connection).startswith(b"HTTP/1.1 400")
    assert still_answers(server)


def test_endless_head(server: ScriptedServer) -> None:
    """A head that does not end is refused before it fills the memory."""
    filler = b"X-Filler: " + b"y" * 4000 + b"\r\n"
    received = b""
    with connect(server) as connection, suppress(ConnectionError):
        connection.sendall(b"GET / HTTP/1.1\r\n")
        for _ in range(1000):  # without the limit all of it would be taken, and no answer come
            connection.sendall(filler)
        received = read_all(connection)
    assert not received or received.startswith(b"HTTP/1.1 400")
    assert still_answers(server)


def test_pipelined_requests_are_answered_in_order(server: ScriptedServer) -> None:
    """Requests sent together on one connection are answered one after the other, in order."""
    bodies = [b'{"prompt":"first {{answer: delay=0.05}}"}', b'{"prompt":"second"}']
    with connect(server) as connection:
        connection.sendall(b"".join(head("echo", len(body)) + body for body in bodies))
        received = b""
        while b"second" not in received:
            received += connection.recv(65536)
    assert received.index(b'"first ') < received.index(b'"second"')


class _Recorder(asyncio.Transport):
    """A transport that remembers its writes."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[bytes] = []
        self.closed = False

    def write(self, data: Any) -> None:
        self.writes.append(bytes(data))

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True


def test_head_and_body_leave_in_one_write() -> None:
    """What one turn of the event loop writes leaves in one write; closing loses none of it."""

    async def turns() -> list[bytes]:
        inner = _Recorder()
        transport = OneWriteTransport(inner, asyncio.get_running_loop())
        transport.write(b"head ")
        transport.write(b"body")
        await asyncio.sleep(0)
        transport.write(b"next")
        transport.close()
        assert inner.closed
        return inner.writes

    assert asyncio.run(turns()) == [b"head body", b"next"]


def test_stalled_requests_are_closed() -> None:
    """A request that does not arrive in time ends its connection; idle and busy ones are left alone."""
    closed = []

    def connection(name: str, since: float | None) -> Connection:
        made = Connection.__new__(Connection)
        made.receiving_since = since
        made.close = lambda: closed.append(name)  # type: ignore[method-assign]
        return made

    connections = {connection("stalled", 10.0), connection("arriving", 90.0), connection("idle", None)}
    state = cast("ServerState", SimpleNamespace(connections=connections))
    close_stalled(state, now=100.0, patience_s=60.0)
    assert closed == ["stalled"]
