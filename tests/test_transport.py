"""Transports against real loopback sockets, well-behaved and not.

A contract suite: every test that takes `make` runs for each factory in `FACTORIES`, so that a second
implementation of `Transport` is held to the same by adding it there.
"""

from __future__ import annotations

import asyncio
import gzip
import shutil
import socket
import ssl
import subprocess
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar

import pytest
from pyreqwest import exceptions as foreign
from rich.pretty import pretty_repr

from qfbatch.errors import UsageError
from qfbatch.flow.eventloop import new_event_loop
from qfbatch.records import Action, ErrorKind, Failure
from qfbatch.service.qianfan import QianfanV1
from qfbatch.transport import HttpCall, Transport, TransportError, open_transport
from qfbatch.transport.direct import DirectTransport
from qfbatch.transport.reqwest import ReqwestTransport, translate

SECRET = "S3CR3T"
PATH = f"/completions?access_token={SECRET}"
NO_ENVIRONMENT: Mapping[str, str] = {}


class Factory(Protocol):
    """Makes a transport."""

    def __call__(self, *, base_url: str, connect_timeout_s: float, environ: Mapping[str, str]) -> Transport:
        """A transport for calls to `base_url`."""


T = TypeVar("T")
LoopFactory = Callable[[], asyncio.AbstractEventLoop]
# What carries the calls, and on which event loop: that of runs, and Python's own, which runs use on Windows.
FACTORIES: dict[str, tuple[type[ReqwestTransport | DirectTransport], LoopFactory]] = {
    "reqwest": (ReqwestTransport, new_event_loop),
    "direct": (DirectTransport, new_event_loop),
    "direct-asyncio": (DirectTransport, asyncio.new_event_loop),
}
LOOP: dict[str, LoopFactory] = {"factory": new_event_loop}


@pytest.fixture(params=FACTORIES)
def make(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Factory:
    """One implementation; `run` then uses its event loop."""
    factory, loop = FACTORIES[request.param]
    monkeypatch.setitem(LOOP, "factory", loop)
    return factory


def run(scenario: Coroutine[Any, Any, T]) -> T:
    """What a scenario comes to."""
    with asyncio.Runner(loop_factory=LOOP["factory"]) as runner:
        return runner.run(scenario)


Answer = Callable[[asyncio.StreamWriter], Awaitable[None]]


class LoopbackServer:
    """Reads requests and leaves the answering to `answer`, which may write, hang, or break the connection.

    Attributes:
        connections: how many were opened.
        requests: head and body of each request, as received.
    """

    def __init__(self, answer: Answer, *, tls: ssl.SSLContext | None = None) -> None:
        self._answer = answer
        self._tls = tls
        self._tasks: set[asyncio.Task[None]] = set()
        self.connections = 0
        self.requests: list[tuple[bytes, bytes]] = []
        self.port = 0

    @property
    def base_url(self) -> str:
        """Where it listens."""
        return f"{'http' if self._tls is None else 'https'}://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        try:
            while not writer.is_closing():
                head = await reader.readuntil(b"\r\n\r\n")
                names = dict(line.lower().split(b":", 1) for line in head.split(b"\r\n")[1:] if line)
                body = await reader.readexactly(int(names.get(b"content-length", 0)))
                self.requests.append((head, body))
                await self._answer(writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.transport.abort()


def replying(*pieces: bytes) -> Answer:
    """Writes each piece in a packet of its own."""

    async def answer(writer: asyncio.StreamWriter) -> None:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0.005)

    return answer


def then(answer: Answer, ending: Callable[[asyncio.StreamWriter], Awaitable[None]]) -> Answer:
    """The answer, followed by something else."""

    async def both(writer: asyncio.StreamWriter) -> None:
        await answer(writer)
        await ending(writer)

    return both


async def hang(writer: asyncio.StreamWriter) -> None:
    """Say nothing more, for ever."""
    await asyncio.Event().wait()


async def reset(writer: asyncio.StreamWriter) -> None:
    """Break the connection by RST."""
    writer.get_extra_info("socket").setsockopt(
        socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00"
    )
    writer.transport.abort()


async def close(writer: asyncio.StreamWriter) -> None:
    """Close the connection in good order."""
    writer.close()


async def drip(writer: asyncio.StreamWriter) -> None:
    """Send a byte now and then, for ever."""
    while True:
        writer.write(b"x")
        await asyncio.sleep(0.02)


def whole(body: bytes, *headers: bytes, status: bytes = b"200 OK") -> bytes:
    """An answer with its length."""
    lines = [b"HTTP/1.1 " + status, b"Content-Length: %d" % len(body), *headers]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def chunk(data: bytes) -> bytes:
    """A chunk of a chunked body; the empty one is its end."""
    return b"%x\r\n%s\r\n" % (len(data), data)


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def call_to(base_url: str, *, timeout_s: float = 5.0) -> HttpCall:
    """A call with a secret in every place that can have one."""
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {SECRET}"}
    return HttpCall(base_url + PATH, headers, b'{"prompt":"x"}', timeout_s)


@asynccontextmanager
async def opened(
    make: Factory, base_url: str, environ: Mapping[str, str] = NO_ENVIRONMENT
) -> AsyncIterator[Transport]:
    """A transport that is closed whatever happens: an unclosed one aborts the interpreter at its end."""
    transport = make(base_url=base_url, connect_timeout_s=5.0, environ=environ)
    try:
        yield transport
    finally:
        await transport.close()


async def exchanged(
    transport: Transport, call: HttpCall, *, stream: bool = False, gap_s: float = 5.0
) -> tuple[int, bytes] | Failure:
    """Status and body, or the failure; no exception of another kind, and none that tells a secret."""
    try:
        if not stream:
            answer = await transport.ask(call)
            return answer.status, answer.body
        async with transport.stream(call) as response:
            return response.status, b"".join([piece async for piece in response.chunks(gap_s=gap_s)])
    except TransportError as error:
        told = f"{error!r} {error} {error.failure!r} {''.join(traceback.format_exception(error))}"
        assert SECRET not in told
        assert "127.0.0.1" not in told
        return error.failure


def outcome(
    make: Factory, answer: Answer, *, stream: bool = False, timeout_s: float = 5.0, gap_s: float = 5.0
) -> tuple[int, bytes] | Failure:
    """What one call to a server that answers so comes to."""

    async def scenario() -> tuple[int, bytes] | Failure:
        async with LoopbackServer(answer) as server, opened(make, server.base_url) as transport:
            call = call_to(server.base_url, timeout_s=timeout_s)
            return await exchanged(transport, call, stream=stream, gap_s=gap_s)

    return run(scenario())


def judged(result: tuple[int, bytes] | Failure) -> tuple[ErrorKind, Action]:
    """Kind and action of what must be a failure without a status."""
    assert isinstance(result, Failure)
    assert result.code is None
    return result.kind, result.action


BROKEN = (ErrorKind.CONNECTION, Action.RETRY)
LATE = (ErrorKind.TIMEOUT, Action.RETRY)
UNREADABLE = (ErrorKind.BAD_ANSWER, Action.RETRY)


# What arrives


def test_a_call_arrives_as_it_is(make: Factory) -> None:
    """URL, headers and body reach the server unchanged, by POST."""

    async def scenario() -> tuple[bytes, bytes]:
        async with (
            LoopbackServer(replying(whole(b"{}"))) as server,
            opened(make, server.base_url) as transport,
        ):
            assert await exchanged(transport, call_to(server.base_url)) == (200, b"{}")
            return server.requests[0]

    head, body = run(scenario())
    lines = head.split(b"\r\n")
    assert lines[0] == b"POST " + PATH.encode() + b" HTTP/1.1"
    assert f"Bearer {SECRET}".encode() in head
    assert b"content-type: application/json" in [line.lower() for line in lines]
    assert body == b'{"prompt":"x"}'


def test_a_host_of_ones_own_replaces_the_usual(make: Factory) -> None:
    """A signed `Host` header is the only one that is sent."""

    async def scenario() -> bytes:
        async with LoopbackServer(replying(whole(b""))) as server, opened(make, server.base_url) as transport:
            await exchanged(transport, HttpCall(server.base_url, {"Host": "signed.example:81"}, b"", 5.0))
            return server.requests[0][0]

    hosts = [line for line in run(scenario()).split(b"\r\n") if line.lower().startswith(b"host:")]
    assert [host.lower() for host in hosts] == [b"host: signed.example:81"]


BIG = b"0123456789abcdef" * 150_000  # several reads


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        ([whole(b"hello")], b"hello"),
        ([whole(b"hello", status=b"404 Not Found")], b"hello"),
        ([whole(b"")], b""),
        ([whole(BIG)], BIG),
        ([CHUNKED, chunk(b"he"), chunk(b"llo")[:3], chunk(b"llo")[3:], chunk(b"")], b"hello"),
        ([CHUNKED + chunk(BIG) + chunk(b"")], BIG),
        ([b"HTTP/1.1 100 Continue\r\n\r\n", whole(b"hello")], b"hello"),
        ([whole(gzip.compress(b"hello"), b"Content-Encoding: gzip")], b"hello"),
        ([whole(gzip.compress(BIG), b"Content-Encoding: gzip")], BIG),
        (
            [CHUNKED[:-2] + b"Content-Encoding: gzip\r\n\r\n", chunk(gzip.compress(b"hello")), chunk(b"")],
            b"hello",
        ),
    ],
    ids=[
        "length",
        "status",
        "empty",
        "big",
        "chunked",
        "big-chunked",
        "continue",
        "gzip",
        "big-gzip",
        "gzip-chunked",
    ],
)
def test_bodies(make: Factory, pieces: list[bytes], expected: bytes, *, stream: bool) -> None:
    """A body arrives whole in every form HTTP has for it, read at once or piece by piece."""
    status = 404 if b"404" in pieces[0] else 200
    assert outcome(make, replying(*pieces), stream=stream) == (status, expected)


@pytest.mark.parametrize("stream", [False, True])
def test_a_body_may_end_with_its_connection(make: Factory, *, stream: bool) -> None:
    """Without a length, the end of the connection is the end of the body."""
    answer = then(replying(b"HTTP/1.1 200 OK\r\n\r\nhello"), close)
    assert outcome(make, answer, stream=stream) == (200, b"hello")


def test_chunks_come_as_they_arrive(make: Factory) -> None:
    """A stream's first piece is handed out while the server has not sent the next: no reading ahead."""
    sent_next = asyncio.Event()

    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(CHUNKED + chunk(b"first"))
        await sent_next.wait()
        writer.write(chunk(b"second") + chunk(b""))

    async def scenario() -> list[bytes]:
        pieces = []
        async with (
            LoopbackServer(answer) as server,
            opened(make, server.base_url) as transport,
            transport.stream(call_to(server.base_url)) as response,
        ):
            async for piece in response.chunks(gap_s=5.0):
                pieces.append(piece)
                sent_next.set()
        return pieces

    assert run(scenario()) == [b"first", b"second"]


@pytest.mark.parametrize("stream", [False, True])
def test_headers(make: Factory, *, stream: bool) -> None:
    """Headers are found by lower-case name; absent ones, and ones that are not ASCII text, say nothing."""
    reply = whole(b"", b"Retry-After: 5", b"X-Odd: \xff\xfe", "X-Text: 你".encode(), b"X-Empty:")

    async def scenario() -> list[str | None]:
        names = ["retry-after", "x-absent", "x-odd", "x-text", "x-empty"]
        async with LoopbackServer(replying(reply)) as server, opened(make, server.base_url) as transport:
            if not stream:
                answer = await transport.ask(call_to(server.base_url))
                return [answer.header(name) for name in names]
            async with transport.stream(call_to(server.base_url)) as response:
                return [response.header(name) for name in names]

    assert run(scenario()) == ["5", None, None, None, ""]


@pytest.mark.parametrize(
    "status", [b"301 Moved", b"302 Found", b"307 Temporary Redirect", b"308 Permanent Redirect"]
)
def test_redirects_are_not_followed(make: Factory, status: bytes) -> None:
    """A redirect is an answer like another: no credentials travel to where it points."""

    async def scenario() -> int:
        async with LoopbackServer(replying(whole(b"", b"Location: /elsewhere", status=status))) as server:
            async with opened(make, server.base_url) as transport:
                assert await exchanged(transport, call_to(server.base_url)) == (int(status[:3]), b"")
            return len(server.requests)

    assert run(scenario()) == 1


# What does not arrive


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (reset, {BROKEN}),
        (close, {BROKEN}),
        (then(replying(b"HTTP/1.1 200"), close), {BROKEN}),
        (then(replying(whole(b"hello")[:-2]), reset), {BROKEN, UNREADABLE}),
        (then(replying(whole(b"hello")[:-2]), close), {BROKEN, UNREADABLE}),
        (then(replying(CHUNKED), reset), {BROKEN, UNREADABLE}),
        (then(replying(CHUNKED + chunk(b"hello")), reset), {BROKEN, UNREADABLE}),
        (then(replying(CHUNKED + chunk(b"hello")), close), {BROKEN, UNREADABLE}),
        (then(replying(CHUNKED + chunk(b"hello")[:-4]), close), {BROKEN, UNREADABLE}),
        (then(replying(CHUNKED + b"no length\r\nhello\r\n"), close), {BROKEN, UNREADABLE}),
        (then(replying(b"garbage\r\n\r\n"), close), {BROKEN, UNREADABLE}),
        (then(replying(b"\x16\x03\x01\x00\x05tls?!"), close), {BROKEN, UNREADABLE}),
        (then(replying(b"HTTP/1.1 999999 What\r\n\r\n"), close), {BROKEN, UNREADABLE}),
        (then(replying(whole(b"not gzip", b"Content-Encoding: gzip")), close), {BROKEN, UNREADABLE}),
        (
            then(replying(whole(gzip.compress(BIG)[:500], b"Content-Encoding: gzip")), close),
            {BROKEN, UNREADABLE},
        ),
    ],
    ids=range(15),
)
def test_broken_answers(
    make: Factory,
    answer: Answer,
    expected: set[tuple[ErrorKind, Action]],
    *,
    stream: bool,
) -> None:
    """However a connection breaks or an answer is garbled, it is a failure to retry, never half an answer."""
    assert judged(outcome(make, answer, stream=stream)) in expected


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "answer",
    [
        hang,
        then(replying(b"HTTP/1.1 200 OK\r\nX-Half: "), hang),
        then(replying(whole(b"hello")[:-2]), hang),
        then(replying(CHUNKED + chunk(b"hello")), hang),
        then(replying(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"), drip),
    ],
    ids=["silent", "half-head", "half-body", "half-stream", "drip"],
)
def test_late_answers(make: Factory, answer: Answer, *, stream: bool) -> None:
    """The whole exchange is bounded in time, however slowly or partly a server answers."""
    assert judged(outcome(make, answer, stream=stream, timeout_s=0.2)) == LATE


def test_silence_in_a_stream(make: Factory) -> None:
    """A stream that falls silent is given up long before the whole call's time is over."""
    answer = then(replying(CHUNKED + chunk(b"hello")), hang)
    assert judged(outcome(make, answer, stream=True, timeout_s=60.0, gap_s=0.1)) == LATE


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "reply",
    [
        CHUNKED + chunk(BIG) + chunk(b""),
        whole(BIG),
        whole(gzip.compress(BIG), b"Content-Encoding: gzip"),
        b"HTTP/1.1 200 OK\r\n\r\n" + BIG,
    ],
    ids=["chunked", "length", "gzip", "endless"],
)
def test_a_body_beyond_the_limit(make: Callable[..., Transport], reply: bytes, *, stream: bool) -> None:
    """An answer that is too large, unpacked, is refused instead of filling the memory."""
    seen = outcome(partial(make, max_body_bytes=100_000), replying(reply), stream=stream)
    what = "stream" if stream else "answer"
    assert seen == Failure(*UNREADABLE, f"the {what} is larger than 100000 bytes")


def test_nobody_listens(make: Factory) -> None:
    """A refused connection is a failure to retry."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

    async def scenario() -> tuple[int, bytes] | Failure:
        async with opened(make, f"http://127.0.0.1:{port}") as transport:
            return await exchanged(transport, call_to(f"http://127.0.0.1:{port}"))

    assert judged(run(scenario())) == BROKEN


def test_a_host_that_does_not_exist(make: Factory) -> None:
    """A name that is not found is a failure to retry: name services have bad moments."""

    async def scenario() -> tuple[int, bytes] | Failure:
        async with opened(make, "http://service.invalid") as transport:
            return await exchanged(transport, call_to("http://service.invalid"))

    assert judged(run(scenario())) == BROKEN


@pytest.mark.parametrize(
    ("url", "headers"),
    [
        ("nonsense" + PATH, {}),
        ("http://", {}),
        ("http://[::1" + PATH, {}),
        ("http://127.0.0.1:99999" + PATH, {}),
        ("http://a b" + PATH, {}),
        ("http://\ud800" + PATH, {}),
        ("ftp://127.0.0.1" + PATH, {}),
        ("file:///tmp" + PATH, {}),
        ("http://127.0.0.1:9" + PATH, {"Authorization": f"Bearer {SECRET}\n"}),
        ("http://127.0.0.1:9" + PATH, {"Authorization": f"{SECRET}\0"}),
        ("http://127.0.0.1:9" + PATH, {"Authorization": f"{SECRET}\ud800"}),
        ("http://127.0.0.1:9" + PATH, {f"{SECRET} x": "y"}),
    ],
)
def test_a_call_that_cannot_be_made(make: Factory, url: str, headers: dict[str, str]) -> None:
    """An address or header that no call can carry would be the same for every row: the job stops."""

    async def scenario() -> tuple[int, bytes] | Failure:
        async with opened(make, "http://127.0.0.1:9") as transport:
            return await exchanged(transport, HttpCall(url, headers, b"", 1.0))

    assert judged(run(scenario())) == (ErrorKind.INVALID_REQUEST, Action.JOB)


def test_after_close(make: Factory) -> None:
    """A call on a closed transport fails as calls do; it does not hang or raise something else."""

    async def scenario() -> tuple[int, bytes] | Failure:
        async with LoopbackServer(replying(whole(b""))) as server:
            async with opened(make, server.base_url) as transport:
                pass
            return await exchanged(transport, call_to(server.base_url))

    assert judged(run(scenario())) == BROKEN


def test_a_call_shows_no_secret() -> None:
    """Neither `repr` nor rich, which prints the locals of a traceback, shows a call's URL or headers."""
    call = call_to("http://127.0.0.1")
    assert repr(call) == "HttpCall(14 bytes, timeout_s=5.0)"
    assert pretty_repr(call) == "HttpCall(bytes=14, timeout_s=5.0)"


# Leaving early


def test_an_error_of_the_caller_comes_through(make: Factory) -> None:
    """What the caller raises while it holds a response is not replaced by what releasing it does."""

    async def scenario() -> None:
        answer = then(replying(CHUNKED + chunk(b"x")), hang)
        async with (
            LoopbackServer(answer) as server,
            opened(make, server.base_url) as transport,
            transport.stream(call_to(server.base_url)),
        ):
            raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        run(scenario())


def test_a_cancelled_call_harms_no_other(make: Factory) -> None:
    """A cancelled call ends at once, and the transport goes on."""
    answers = iter([hang, replying(whole(b"next"))])
    arrived = asyncio.Event()

    async def answer(writer: asyncio.StreamWriter) -> None:
        arrived.set()
        await next(answers)(writer)

    async def scenario() -> tuple[int, bytes] | Failure:
        async with LoopbackServer(answer) as server, opened(make, server.base_url) as transport:
            first = asyncio.create_task(exchanged(transport, call_to(server.base_url)))
            await arrived.wait()
            first.cancel()
            with pytest.raises(asyncio.CancelledError):
                await first
            return await exchanged(transport, call_to(server.base_url))

    assert run(scenario()) == (200, b"next")


CALLS = 12
FEW = 4  # a connection may come back to the pool a moment after its answer, when the next call is out already


def connections(make: Factory, answer: Answer, *, stream: bool) -> int:
    """How many connections the server sees for calls after each other, streams left at their end event."""

    async def scenario() -> int:
        async with LoopbackServer(answer) as server, opened(make, server.base_url) as transport:
            for _ in range(CALLS):
                if not stream:
                    await transport.ask(call_to(server.base_url))
                    continue
                async with transport.stream(call_to(server.base_url)) as response:
                    decoder = QianfanV1().stream_decoder(response.status, response.header, now=0.0)
                    async for piece in response.chunks(gap_s=5.0):
                        decoder.feed(piece)
                        if decoder.ended:
                            break
                    assert decoder.ended
            assert len(server.requests) == CALLS
            return server.connections

    return run(scenario())


EVENT = chunk(b'data: {"result":"a","is_end":false}\n\n')
LAST = chunk(b'data: {"result":"b","is_end":true}\n\n')


@pytest.mark.parametrize(
    ("pieces", "stream"),
    [
        ([whole(b"{}")], False),
        ([CHUNKED, EVENT, chunk(b"")], False),
        ([CHUNKED + EVENT + LAST + chunk(b"")], True),
        ([CHUNKED, EVENT, LAST + chunk(b"")], True),
        ([CHUNKED, EVENT, LAST, chunk(b"")], True),
    ],
    ids=["length", "chunked", "one-write", "end-with-last-event", "end-in-its-own-packet"],
)
def test_connections_are_reused(make: Factory, pieces: list[bytes], *, stream: bool) -> None:
    """Calls after each other share connections, also after streams that were left at their end event."""
    assert connections(make, replying(*pieces), stream=stream) <= FEW


def test_a_stream_that_does_not_end_is_left(make: Factory) -> None:
    """A server that keeps a stream open after its end event costs a connection, not a hang."""
    assert connections(make, then(replying(CHUNKED + LAST), hang), stream=True) == CALLS


def test_calls_at_once(make: Factory) -> None:
    """As many calls as are made at once are on their way at once: no limit of the library's own."""
    met = 0
    everybody = asyncio.Event()

    async def answer(writer: asyncio.StreamWriter) -> None:
        nonlocal met
        met += 1
        if met == 40:
            everybody.set()
        await everybody.wait()
        writer.write(whole(b"{}"))

    async def scenario() -> list[tuple[int, bytes] | Failure]:
        async with LoopbackServer(answer) as server, opened(make, server.base_url) as transport:
            return list(
                await asyncio.gather(*(exchanged(transport, call_to(server.base_url)) for _ in range(40)))
            )

    assert run(scenario()) == [(200, b"{}")] * 40


# Proxies


def through(
    base_url: str, environ: Callable[[int], Mapping[str, str]], answer: Answer | None = None
) -> tuple[tuple[int, bytes] | Failure, list[bytes]]:
    """The outcome of a call to `base_url`, and the heads that a proxy saw; `environ` is given its port."""

    async def scenario() -> tuple[tuple[int, bytes] | Failure, list[bytes]]:
        async with LoopbackServer(answer or replying(whole(b"by proxy"))) as proxy:
            async with opened(open_transport, base_url, environ(proxy.port)) as transport:
                seen = await exchanged(transport, call_to(base_url))
            return seen, [head for head, _ in proxy.requests]

    return run(scenario())


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (
            replying(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n"),
            Failure(
                ErrorKind.CREDENTIALS,
                Action.JOB,
                "the proxy demands credentials (HTTP 407); they stand in its address: "
                "http://USER:PASSWORD@HOST:PORT",
                code=407,
            ),
        ),
        (
            replying(whole(b"", status=b"403 Forbidden")),
            Failure(ErrorKind.CONNECTION, Action.RETRY, "the proxy refused to connect to the service"),
        ),
        (
            close,
            Failure(
                ErrorKind.CONNECTION, Action.RETRY, "the proxy hung up instead of connecting to the service"
            ),
        ),
        (
            then(replying(b"HTTP/1.1 200 OK\r\n\r\n"), close),
            Failure(
                ErrorKind.CONNECTION,
                Action.RETRY,
                "TLS could not be agreed on with the service's or its proxy's host",
            ),
        ),
    ],
)
def test_what_a_proxy_makes_of_a_tunnel(answer: Answer, told: Failure) -> None:
    """Each way in which a proxy makes no connection has a sentence of its own, without address or token."""
    seen, _ = through(
        "https://service.invalid", lambda port: {"HTTPS_PROXY": f"http://me:word@127.0.0.1:{port}"}, answer
    )
    assert seen == told


@pytest.mark.parametrize(
    ("environ", "told"),
    [
        (
            {"HTTPS_PROXY": "http://127.0.0.1:{port}"},
            "the connection was refused: nothing listens at the proxy's address",
        ),
        ({"HTTPS_PROXY": "http://no-such-proxy.invalid:3128"}, "the name of the proxy's host is not known"),
        (
            {"HTTPS_PROXY": "http://127.0.0.1:{port}", "NO_PROXY": "service.invalid"},
            "the name of the service's or its proxy's host is not known",
        ),
    ],
)
def test_a_proxy_that_cannot_be_reached(environ: dict[str, str], told: str) -> None:
    """A proxy that is not there is told apart from a host that nobody knows."""

    async def scenario() -> tuple[int, bytes] | Failure:
        async with LoopbackServer(close) as gone:
            port = gone.port
        named = {name: value.format(port=port) for name, value in environ.items()}
        async with opened(open_transport, "https://service.invalid", named) as transport:
            return await exchanged(transport, call_to("https://service.invalid"))

    assert run(scenario()) == Failure(ErrorKind.CONNECTION, Action.RETRY, told)


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("HTTP_PROXY", "http://127.0.0.1:{port}"),
        ("http_proxy", "http://127.0.0.1:{port}/"),
        ("ALL_PROXY", "http://127.0.0.1:{port}"),
        ("all_proxy", "http://localhost:{port}"),
        ("HTTP_PROXY", "127.0.0.1:{port}"),
        ("HTTP_PROXY", "localhost:{port}"),
    ],
)
def test_a_proxy_from_the_environment(name: str, form: str) -> None:
    """Calls go through the proxy that the environment names, in all its spellings."""
    seen, heads = through("http://service.invalid", lambda port: {name: form.format(port=port)})
    assert seen == (200, b"by proxy")
    assert [head.split(b"\r\n")[0] for head in heads] == [
        b"POST http://service.invalid" + PATH.encode() + b" HTTP/1.1"
    ]


def test_a_proxy_with_a_password() -> None:
    """User and password of a proxy's address are presented to it."""
    seen, heads = through(
        "http://service.invalid", lambda port: {"HTTP_PROXY": f"http://me:word@127.0.0.1:{port}"}
    )
    assert seen == (200, b"by proxy")
    assert b"basic bwu6d29yza==" in heads[0].lower()


def test_https_goes_through_a_tunnel() -> None:
    """An https call asks the proxy for a tunnel and shows it neither path nor token."""
    refusing = replying(whole(b"", status=b"502 Bad Gateway"))
    seen, heads = through(
        "https://service.invalid", lambda port: {"HTTPS_PROXY": f"http://127.0.0.1:{port}"}, refusing
    )
    assert judged(seen) == BROKEN
    assert heads[0].startswith(b"CONNECT service.invalid:443 HTTP/1.1\r\n")
    assert SECRET.encode() not in heads[0]


@pytest.mark.parametrize("exception", ["service.invalid", "other.example, .invalid", "*"])
def test_no_proxy(exception: str) -> None:
    """Hosts that NO_PROXY names are called directly."""
    seen, heads = through(
        "http://service.invalid",
        lambda port: {"HTTP_PROXY": f"http://127.0.0.1:{port}", "NO_PROXY": exception},
    )
    assert (judged(seen), heads) == (BROKEN, [])


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "NO_PROXY", "FTP_PROXY", "UNRELATED"])
def test_a_variable_that_does_not_concern_the_call(name: str) -> None:
    """A plain http call does not go through the https proxy."""
    seen, heads = through("http://service.invalid", lambda port: {name: f"http://127.0.0.1:{port}"})
    assert (judged(seen), heads) == (BROKEN, [])


def test_the_process_environment_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the environment that was handed over counts, not what the library would look up by itself."""

    def environ(port: int) -> Mapping[str, str]:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{port}")
        return NO_ENVIRONMENT

    seen, heads = through("http://service.invalid", environ)
    assert (judged(seen), heads) == (BROKEN, [])


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.0.0.2"])
def test_loopback_is_never_proxied(host: str) -> None:
    """The embedded server is reached directly, whatever proxy the environment names."""

    async def scenario() -> tuple[tuple[int, bytes] | Failure, int]:
        async with LoopbackServer(replying(whole(b"direct"))) as server, LoopbackServer(hang) as proxy:
            base_url = f"http://{host}:{server.port}"
            environ = {"HTTP_PROXY": proxy.base_url, "ALL_PROXY": proxy.base_url}
            async with opened(open_transport, base_url, environ) as transport:
                return await exchanged(transport, call_to(base_url, timeout_s=1.0)), proxy.connections

    seen, proxied = run(scenario())
    assert proxied == 0
    assert host == "127.0.0.2" or seen == (200, b"direct")  # nothing listens at 127.0.0.2


@pytest.mark.parametrize("address", ["no address", "http://", "::::", f"http://me:{SECRET}@:x"])
@pytest.mark.parametrize("name", ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"])
def test_a_proxy_that_is_none(name: str, address: str) -> None:
    """A wrong proxy address is refused at the start, by the variable's name; it may hold a password."""
    with pytest.raises(UsageError) as refused:
        open_transport(base_url="https://service.invalid", connect_timeout_s=1.0, environ={name: address})
    assert (
        str(refused.value) == f"the environment variable {name} is not a proxy address.\nCorrect or unset it."
    )


# Certificates


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an authority of our own, `ca.pem`, and a server certificate it signed, `server.pem`."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("there is no openssl to make certificates with")
    folder = tmp_path_factory.mktemp("authority")
    (folder / "names").write_text("subjectAltName=IP:127.0.0.1\nbasicConstraints=CA:FALSE\n")
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    subject = ["-subj", "/CN=test"]
    signer = ["-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial"]
    for arguments in (
        ["req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.pem", *subject, "-days", "2"],
        ["req", *key, "-keyout", "server.key", "-out", "request", *subject],
        ["x509", "-req", "-in", "request", "-out", "server.pem", "-days", "2", "-extfile", "names", *signer],
    ):
        subprocess.run([openssl, *arguments], cwd=folder, check=True, capture_output=True, timeout=30)
    return folder


def over_tls(make: Factory, authority: Path, environ: Mapping[str, str]) -> tuple[int, bytes] | Failure:
    """A call to a server whose certificate our own authority signed."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(authority / "server.pem", authority / "server.key")

    async def scenario() -> tuple[int, bytes] | Failure:
        async with (
            LoopbackServer(replying(whole(b"safe")), tls=tls) as server,
            opened(make, server.base_url, environ) as transport,
        ):
            return await exchanged(transport, call_to(server.base_url))

    return run(scenario())


@pytest.mark.parametrize("name", ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"])
def test_an_authority_of_ones_own(make: Factory, authority: Path, name: str) -> None:
    """The CA file that the environment names is trusted."""
    assert over_tls(make, authority, {name: str(authority / "ca.pem")}) == (200, b"safe")


def test_a_bundle_of_several(make: Factory, authority: Path, tmp_path: Path) -> None:
    """Every certificate of a bundle counts, with text around them as bundles have it."""
    pem = (authority / "ca.pem").read_text()
    bundle = tmp_path / "bundle.pem"
    bundle.write_text(f"# server\n{(authority / 'server.pem').read_text()}\n# ours\n{pem}\nend\n")
    assert over_tls(make, authority, {"SSL_CERT_FILE": str(bundle)}) == (200, b"safe")


@pytest.mark.parametrize("value", [None, ""])
def test_an_unknown_authority(make: Factory, authority: Path, value: str | None) -> None:
    """Without it, a certificate by an unknown authority is no connection."""
    environ = {} if value is None else {"SSL_CERT_FILE": value}
    assert judged(over_tls(make, authority, environ)) == BROKEN


@pytest.mark.parametrize("name", ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"])
@pytest.mark.parametrize(
    "content",
    [
        None,
        b"",
        b"no certificates",
        b"0\x82\x00\x01",
        b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        b"-----BEGIN CERTIFICATE-----\n!!!!\n",
    ],
    ids=["missing", "empty", "text", "der", "no-certificate", "cut"],
)
def test_a_wrong_ca_file(make: Factory, tmp_path: Path, name: str, content: bytes | None) -> None:
    """A CA file that cannot be used is refused at the start, by the variable's name and the file's."""
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UsageError) as refused:
        make(base_url="https://service.invalid", connect_timeout_s=1.0, environ={name: str(path)})
    assert refused.value.message == (
        f"the environment variable {name} names {path}, which cannot be read as PEM certificates."
    )


# The library's exceptions

RETRIED = {
    "PyreqwestError": ErrorKind.CONNECTION,
    "DetailedPyreqwestError": ErrorKind.CONNECTION,
    "RequestError": ErrorKind.CONNECTION,
    "StatusError": ErrorKind.CONNECTION,
    "RedirectError": ErrorKind.CONNECTION,
    "DecodeError": ErrorKind.BAD_ANSWER,
    "BodyDecodeError": ErrorKind.BAD_ANSWER,
    "JSONDecodeError": ErrorKind.BAD_ANSWER,
    "TransportError": ErrorKind.CONNECTION,
    "RequestTimeoutError": ErrorKind.TIMEOUT,
    "NetworkError": ErrorKind.CONNECTION,
    "ConnectTimeoutError": ErrorKind.TIMEOUT,
    "ReadTimeoutError": ErrorKind.TIMEOUT,
    "WriteTimeoutError": ErrorKind.TIMEOUT,
    "PoolTimeoutError": ErrorKind.TIMEOUT,
    "ConnectError": ErrorKind.CONNECTION,
    "ReadError": ErrorKind.CONNECTION,
    "WriteError": ErrorKind.CONNECTION,
    "ClientClosedError": ErrorKind.CONNECTION,
    "RequestPanicError": ErrorKind.CONNECTION,
}
EXPECTED = {name: (kind, Action.RETRY) for name, kind in RETRIED.items()} | {
    "BuilderError": (ErrorKind.INVALID_REQUEST, Action.JOB)
}


def test_every_exception_of_the_library_is_translated() -> None:
    """Each exception class has a place in the table above; a new one fails this test until it has."""
    classes = {
        name: value
        for name, value in vars(foreign).items()
        if isinstance(value, type) and issubclass(value, foreign.PyreqwestError)
    }
    assert {
        name: judged(translate(value.__new__(value)).failure) for name, value in classes.items()
    } == EXPECTED
