"""What calls from our own sockets promise beyond the contract that all transports share."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from qfbatch.flow.eventloop import new_event_loop
from qfbatch.records import Action, ErrorKind, Failure
from qfbatch.transport import HttpCall, TransportError, open_transport
from qfbatch.transport.direct import SETTLE_S, DirectTransport
from qfbatch.transport.http1 import BUFFERED_BYTES, UNANSWERED, Http1Connection
from qfbatch.transport.outbox import Outbox
from qfbatch.transport.reqwest import ReqwestTransport
from qfbatch.transport.trust import STRIKES

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n%s"
Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def run(scenario: Callable[[str, DirectTransport], Awaitable[object]], talk: Talk) -> object:
    """What a scenario comes to, given the address of a server that talks so and a transport."""

    async def everything() -> object:
        talks: set[asyncio.Task[None]] = set()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            talks.add(task)
            try:
                await talk(reader, writer)
            except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                pass
            finally:
                writer.transport.abort()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        transport = DirectTransport(base_url="", connect_timeout_s=5.0, environ={})
        try:
            return await scenario(f"http://127.0.0.1:{port}/completions", transport)
        finally:
            await transport.close()
            server.close()
            for task in talks:
                task.cancel()
            await asyncio.gather(*talks)

    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        return runner.run(everything())


async def request_of(reader: asyncio.StreamReader) -> bytes:
    """The body of the next request; empty at the end of the connection."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
    return await reader.readexactly(length)


def call(url: str, body: bytes = b"{}") -> HttpCall:
    """A call with a body to be known by."""
    return HttpCall(url, {"Content-Type": "application/json"}, body, 5.0)


async def asked(transport: DirectTransport, made: HttpCall, *, stream: bool = False) -> bytes | Failure:
    """The answer's body, or the failure."""
    try:
        if not stream:
            return (await transport.ask(made)).body
        async with transport.stream(made) as response:
            return b"".join([piece async for piece in response.chunks(gap_s=5.0)])
    except TransportError as error:
        return error.failure


def test_a_call_given_up_ends_at_the_service_too() -> None:
    """A cancelled call closes its connection, so that the service stops working on what nobody will read."""
    arrived, ended = asyncio.Event(), asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_of(reader)
        arrived.set()
        assert await reader.read() == b""
        ended.set()

    async def scenario(url: str, transport: DirectTransport) -> bool:
        task = asyncio.create_task(asked(transport, call(url)))
        await arrived.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        async with asyncio.timeout(5):
            return await ended.wait()

    assert run(scenario, talk) is True


def test_a_service_that_leaves_after_a_stream() -> None:
    """A connection announced as kept but closed right after a stream costs the next call nothing."""
    answer = ANSWER.replace(b"Content", b"Keep-Alive: timeout=5, max=100\r\nContent") % b"ok"

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_of(reader)
        writer.write(answer)
        await writer.drain()
        await asyncio.sleep(0.002)  # the next call could be on its way by now

    async def scenario(url: str, transport: DirectTransport) -> list[bytes | Failure]:
        return [await asked(transport, call(url), stream=True) for _ in range(20)]

    assert run(scenario, talk) == [b"ok"] * 20


def test_a_service_known_to_leave_after_streams() -> None:
    """Seen once to close a connection after a stream, a service may take its time the next times."""
    answer = ANSWER.replace(b"Content", b"Keep-Alive: timeout=5, max=100\r\nContent") % b"ok"
    pauses_s = iter([0.002, 2 * SETTLE_S])

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_of(reader)
        writer.write(answer)
        await asyncio.sleep(next(pauses_s, 0))

    async def scenario(url: str, transport: DirectTransport) -> list[bytes | Failure]:
        answers = []
        for _ in range(3):
            answers.append(await asked(transport, call(url), stream=True))
            await asyncio.sleep(1.5 * SETTLE_S)
        return answers

    assert run(scenario, talk) == [b"ok"] * 3


def test_a_service_that_never_keeps_connections() -> None:
    """A service that closes after each answer without a word costs a few calls, not every other one."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_of(reader)
        writer.write(ANSWER % b"ok")
        await asyncio.sleep(0.005)  # the next call is on its way by now

    async def scenario(url: str, transport: DirectTransport) -> int:
        answers = [await asked(transport, call(url)) for _ in range(20)]
        return 20 - answers.count(b"ok")

    assert run(scenario, talk) == STRIKES


def test_an_answer_before_its_request_was_read() -> None:
    """Whoever refuses a call without reading it does not get the next one behind the unread rest."""
    refusals = iter([b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 2\r\n\r\nno"])

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(next(refusals, ANSWER % b"ok"))
        await asyncio.sleep(1)

    async def scenario(url: str, transport: DirectTransport) -> list[bytes | Failure]:
        large = call(url, b"x" * 32 * 1024 * 1024)
        return [await asked(transport, large), await asked(transport, call(url))]

    assert run(scenario, talk) == [b"no", b"ok"]


def test_a_stream_left_unread_does_not_stop_the_next_call() -> None:
    """A stream that ended while its pieces waited leaves a connection that reads again."""
    left = b"x" * (BUFFERED_BYTES + 1000)
    answers = iter([left, b"ok"])

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for body in answers:
            await request_of(reader)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        await reader.read()

    async def scenario(url: str, transport: DirectTransport) -> bytes | Failure:
        async with transport.stream(call(url)):
            await asyncio.sleep(0.2)
        return await asked(transport, call(url))

    assert run(scenario, talk) == b"ok"


def test_given_up_at_the_end_of_a_stream() -> None:
    """A call that is cancelled while the end of its stream is awaited closes its connection, too."""
    ended = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_of(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n")
        assert await reader.read() == b""
        ended.set()

    async def scenario(url: str, transport: DirectTransport) -> bool:
        left = asyncio.Event()

        async def ask() -> None:
            async with transport.stream(call(url)) as response:
                async for _ in response.chunks(gap_s=5.0):
                    left.set()
                    break

        task = asyncio.create_task(ask())
        await left.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        async with asyncio.timeout(2):
            return await ended.wait()

    assert run(scenario, talk) is True


CHUNKED = b"Transfer-Encoding: chunked\r\n"


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n" + CHUNKED + b"\r\n2\r\nok\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok",
        b"HTTP/1.1 200 OK\r\n" + CHUNKED + b"\r\n2  \r\nok\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + CHUNKED + b"\r\n2\r\nok\r\n0\r\nX-Checked: yes\r\n\r\n",
        b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" * 9 + ANSWER % b"ok",
    ],
    ids=["two-lengths", "bare-line-feeds", "spaced-chunk-size", "trailers", "hints"],
)
def test_answers_in_rare_forms(answer: bytes) -> None:
    """An answer that a recipient may understand is understood, for it is paid for; the next one is, too."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await request_of(reader):
            writer.write(answer)

    async def scenario(url: str, transport: DirectTransport) -> list[bytes | Failure]:
        return [await asked(transport, call(url), stream=stream) for stream in (False, False, True, True)]

    assert run(scenario, talk) == [b"ok"] * 4


@pytest.mark.parametrize(
    "beginning",
    [
        b"HTTP/1.1 200 OK\r\nX: ",
        b"HTTP/1.1 200 OK\r\n" + CHUNKED + b"\r\n2\r\nok\r\n0\r\nX: ",
        b"HTTP/1.1 200 OK\r\n" + CHUNKED + b"\r\n2;",
    ],
    ids=["head", "trailer", "chunk-extension"],
)
def test_what_is_no_body_has_an_end(beginning: bytes) -> None:
    """A head, a trailer or a chunk's line without end is given up instead of filling the memory."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_of(reader)
        writer.write(beginning)
        while True:
            writer.write(b"x" * 65536)
            await writer.drain()

    async def scenario(url: str, transport: DirectTransport) -> bytes | Failure:
        return await asked(transport, call(url))

    assert run(scenario, talk) == Failure(ErrorKind.BAD_ANSWER, Action.RETRY, "the answer is not HTTP")


def test_what_nobody_asked_for_is_no_answer() -> None:
    """Bytes that arrive between two calls end the connection; the next call gets its own answer."""
    greetings = iter([b"no", b"ok"])

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_of(reader)
        writer.write(ANSWER % next(greetings))
        await asyncio.sleep(0.02)
        writer.write(ANSWER % b"??")
        await reader.read()

    async def scenario(url: str, transport: DirectTransport) -> list[bytes | Failure]:
        first = await asked(transport, call(url))
        await asyncio.sleep(0.1)
        return [first, await asked(transport, call(url))]

    assert run(scenario, talk) == [b"no", b"ok"]


class Wire(asyncio.Transport):
    """An open connection that remembers what was written to it, until it is aborted."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[object] = []
        self.closing = False

    def write(self, data: object) -> None:
        """Take a request."""
        self.written.append(data)

    def abort(self) -> None:
        """The connection ends."""
        self.closing = True

    def is_closing(self) -> bool:
        """Whether it has ended."""
        return self.closing


def test_what_comes_before_the_request_left_is_no_answer() -> None:
    """An answer that arrives while its request still waits to be written ends the connection unused.

    Taken for the answer, it would leave the request to be answered to the next call.
    """

    async def scenario() -> tuple[Failure | None, bool, list[object]]:
        loop = asyncio.get_running_loop()
        wire, connection = Wire(), Http1Connection(loop, Outbox(loop), 1000, lambda _: None)
        connection.connection_made(wire)
        done = connection.send(b"request", timeout_s=5.0, stream=False)
        connection.data_received(ANSWER % b"??")
        await done
        await asyncio.sleep(0)
        return connection.failure, connection.reusable, wire.written

    assert asyncio.run(scenario()) == (UNANSWERED, False, [])


def test_a_second_answer_in_the_same_packet_is_dropped() -> None:
    """An answer too many leaves with its connection: it is not the answer to the next call."""
    connections = iter([ANSWER % b"no" + ANSWER % b"??", ANSWER % b"ok"])

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_of(reader)
        writer.write(next(connections))
        await reader.read()

    async def scenario(url: str, transport: DirectTransport) -> list[bytes | Failure]:
        return [await asked(transport, call(url)), await asked(transport, call(url))]

    assert run(scenario, talk) == [b"no", b"ok"]


def test_answers_belong_to_their_calls() -> None:
    """Many calls over few connections, in any order of answers: each gets its own."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while not reader.at_eof():
            body = await request_of(reader)
            await asyncio.sleep(int(body[-1:]) / 1000)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))

    async def scenario(url: str, transport: DirectTransport) -> list[bytes | Failure]:
        async def worker(number: int) -> list[bytes | Failure]:
            bodies = [b"%d/%d" % (number, round_) for round_ in range(8)]
            return [await asked(transport, call(url, body)) for body in bodies]

        return [answer for answers in await asyncio.gather(*map(worker, range(16))) for answer in answers]

    assert run(scenario, talk) == [b"%d/%d" % (n, r) for n in range(16) for r in range(8)]


def test_a_stream_is_not_read_ahead() -> None:
    """A stream whose pieces are not taken stops the service instead of filling the memory."""
    sent = 0

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await request_of(reader)
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(b"x" * 65536)
            await writer.drain()
            sent += 65536

    async def scenario(url: str, transport: DirectTransport) -> bool:
        async with transport.stream(call(url)):
            seen = -1
            while seen != sent:  # until it goes no further
                seen = sent
                await asyncio.sleep(0.2)
        return sent < BUFFERED_BYTES + 32 * 1024 * 1024  # and what the system itself holds of a connection

    assert run(scenario, talk) is True


def test_a_connection_closed_meanwhile_is_not_used() -> None:
    """A service that closes idle connections costs nothing: the next call opens its own."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_of(reader)
        writer.write(ANSWER % b"ok")
        await writer.drain()

    async def scenario(url: str, transport: DirectTransport) -> list[bytes | Failure]:
        answers = []
        for _ in range(5):
            answers.append(await asked(transport, call(url)))
            await asyncio.sleep(0.02)
        return answers

    assert run(scenario, talk) == [b"ok"] * 5


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("http://127.0.0.1:9/", "the connection was refused: nothing listens at the service's address"),
        ("http://service.invalid/", "the name of the service's host is not known"),
    ],
)
def test_why_there_is_no_connection(url: str, message: str) -> None:
    """The reason is told in words that help, and without the address, whose query may hold a token."""

    async def scenario(_: str, transport: DirectTransport) -> bytes | Failure:
        return await asked(transport, call(url))

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Never asked."""

    assert run(scenario, talk) == Failure(ErrorKind.CONNECTION, Action.RETRY, message)


def test_an_answer_in_plain_text_to_tls() -> None:
    """A service that does not speak TLS where it should is told from one that is not there."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await writer.drain()

    async def scenario(url: str, transport: DirectTransport) -> bytes | Failure:
        return await asked(transport, call(url.replace("http:", "https:")))

    message = "TLS could not be agreed on with the service"
    assert run(scenario, talk) == Failure(ErrorKind.CONNECTION, Action.RETRY, message)


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, DirectTransport),
        ({"NO_PROXY": "*"}, DirectTransport),
        ({"HTTPS_PROXY": "http://127.0.0.1:9"}, ReqwestTransport),
        ({"all_proxy": "127.0.0.1:9"}, ReqwestTransport),
    ],
)
def test_proxies_take_the_library(environ: dict[str, str], expected: type) -> None:
    """Only where a proxy may stand between does the HTTP library carry the calls."""

    async def scenario() -> type:
        transport = open_transport(base_url="https://service.example", connect_timeout_s=1.0, environ=environ)
        await transport.close()
        return type(transport)

    assert asyncio.run(scenario()) is expected
