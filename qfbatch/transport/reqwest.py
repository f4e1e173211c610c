"""Calls through a full HTTP library (reqwest, in Rust), which knows proxies in all their forms.

Foreign exceptions are translated in one place, and nothing of their text is kept: their messages carry the
whole URL, access token included. Why there is no connection stands in the layers below: each is known by how
its message begins, or by the system's error number in it, and told in a sentence of ours.
"""

from __future__ import annotations

import asyncio
import errno
import re
from collections.abc import AsyncIterator, Mapping
from datetime import timedelta
from types import TracebackType
from typing import Self

from pyreqwest import exceptions as foreign
from pyreqwest.client import Client, ClientBuilder
from pyreqwest.proxy import ProxyBuilder
from pyreqwest.request import StreamRequest
from pyreqwest.response import Response as ForeignResponse

from qfbatch._version import __version__
from qfbatch.errors import UsageError
from qfbatch.records import Action, ErrorKind, Failure
from qfbatch.service.http_failures import bad_answer
from qfbatch.transport.environment import authorities, proxies, setting, unusable_bundle
from qfbatch.transport.seam import (
    CANNOT_BE_BUILT,
    DRAIN_BYTES,
    DRAIN_S,
    MAX_BODY_BYTES,
    Answer,
    HttpCall,
    TransportError,
    silent_stream,
)

READ_BYTES = 1024 * 1024


class ReqwestTransport:
    """`Transport` over a Rust HTTP client.

    Args:
        base_url: where the calls will go; loopback addresses never go through a proxy.
        connect_timeout_s: longest duration of connecting.
        environ: HTTPS_PROXY, HTTP_PROXY, ALL_PROXY, NO_PROXY (either case), SSL_CERT_FILE,
            REQUESTS_CA_BUNDLE.
        max_body_bytes: of an answer, unpacked.

    Raises:
        UsageError: if a proxy or a CA file from the environment cannot be used.
    """

    def __init__(
        self,
        *,
        base_url: str,
        connect_timeout_s: float,
        environ: Mapping[str, str],
        max_body_bytes: int = MAX_BODY_BYTES,
    ) -> None:
        self._max_body_bytes = max_body_bytes
        builder = (
            ClientBuilder()
            .user_agent(f"qfbatch/{__version__}")
            .connect_timeout(timedelta(seconds=connect_timeout_s))
            .follow_redirects(False)  # noqa: FBT003 - the library's own signature
            .error_for_status(False)  # noqa: FBT003 - the library's own signature
        )
        builder = _with_proxies(builder, base_url, environ)
        builder = _with_certificates(builder, environ)
        try:
            self._client: Client = builder.build()
        except (foreign.PyreqwestError, ValueError):
            raise UsageError(
                "the proxies or certificates that the environment names cannot be used.",
                hint="Check HTTPS_PROXY, HTTP_PROXY, ALL_PROXY, SSL_CERT_FILE and REQUESTS_CA_BUNDLE.",
            ) from None

    async def ask(self, call: HttpCall) -> Answer:
        """Send the call, and take its answer as a whole; see `Transport.ask`."""
        async with self._exchange(call, stream=False) as response:
            return Answer(response.status, response.header, await response.read())

    def stream(self, call: HttpCall) -> ReqwestExchange:
        """Send the call, whose answer is taken piece by piece; see `Transport.stream`."""
        return self._exchange(call, stream=True)

    def _exchange(self, call: HttpCall, *, stream: bool) -> ReqwestExchange:
        try:
            builder = (
                self._client.post(call.url)
                .headers(call.headers)
                .body_bytes(call.body)
                .timeout(timedelta(seconds=call.timeout_s))
            )
            if stream:
                # The library reads ahead before it hands out the head; a stream's first piece must not wait.
                builder = builder.streamed_read_buffer_limit(0)
            return ReqwestExchange(
                builder.build_streamed(), stream=stream, max_body_bytes=self._max_body_bytes
            )
        except (foreign.BuilderError, ValueError):
            raise TransportError(CANNOT_BE_BUILT) from None

    async def close(self) -> None:
        """Release all connections."""
        await self._client.close()


class ReqwestExchange:
    """One exchange: entered, it is the response."""

    def __init__(self, request: StreamRequest, *, stream: bool, max_body_bytes: int) -> None:
        self._request = request
        self._max_body_bytes = max_body_bytes
        self._response: ForeignResponse | None = None
        self._left_over = stream  # whether the body may have an unread rest worth reading

    async def __aenter__(self) -> Self:
        try:
            self._response = await self._request.__aenter__()
        except foreign.PyreqwestError as error:
            raise translate(error) from None
        self.status = self._response.status
        return self

    def header(self, name: str) -> str | None:
        """A header; one that is not ASCII text says nothing that could be understood."""
        assert self._response is not None, "an exchange is entered before it is read"  # noqa: S101
        try:
            return self._response.get_header(name)
        except ValueError:
            return None

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is None and self._left_over:
            await self._drain()
        try:
            await self._request.__aexit__(kind, error, traceback)
        except foreign.PyreqwestError:
            # Releasing a connection that broke: what mattered of it was raised by the reads.
            return

    async def _drain(self) -> None:
        """Read what little is left after a stream's end event: only then can its connection be kept."""
        assert self._response is not None, "an exchange is entered before it is left"  # noqa: S101
        size = 0
        try:
            async with asyncio.timeout(DRAIN_S):
                while (
                    size <= DRAIN_BYTES
                    and (chunk := await self._response.body_reader.read_chunk()) is not None
                ):
                    size += len(chunk)
        except (foreign.PyreqwestError, TimeoutError):
            return  # then the next call opens a connection of its own

    async def read(self) -> bytes:
        """The whole body.

        Raises:
            TransportError: if it breaks off, times out or is too large.
        """
        assert self._response is not None, "an exchange is entered before it is read"  # noqa: S101
        reader = self._response.body_reader
        try:
            body = bytes(await reader.read(READ_BYTES) or b"")
            if str(len(body)) == self.header("content-length"):
                return body
            rest = [body]
            size = len(body)
            while chunk := await reader.read(READ_BYTES):
                rest.append(bytes(chunk))
                size += len(chunk)
                if size > self._max_body_bytes:
                    raise TransportError(
                        bad_answer(f"the answer is larger than {self._max_body_bytes} bytes")
                    )
        except foreign.PyreqwestError as error:
            raise translate(error) from None
        return b"".join(rest)

    async def chunks(self, *, gap_s: float) -> AsyncIterator[bytes]:
        """The body as it arrives; see `Response.chunks`."""
        assert self._response is not None, "an exchange is entered before it is read"  # noqa: S101
        reader = self._response.body_reader
        size = 0
        while True:
            self._left_over = False  # unless this chunk arrives and is not the last
            try:
                async with asyncio.timeout(gap_s):
                    chunk = await reader.read_chunk()
            except foreign.PyreqwestError as error:
                raise translate(error) from None
            except TimeoutError:
                raise TransportError(silent_stream(gap_s)) from None
            if chunk is None:
                return
            size += len(chunk)
            if size > self._max_body_bytes:
                raise TransportError(bad_answer(f"the stream is larger than {self._max_body_bytes} bytes"))
            self._left_over = True
            yield bytes(chunk)


# Most specific first. A total timeout before the response is reported by the library as a connect timeout,
# so the two share one sentence.
_TRANSLATIONS: tuple[tuple[type[foreign.PyreqwestError], ErrorKind, str], ...] = (
    (foreign.ReadTimeoutError, ErrorKind.TIMEOUT, "the answer did not arrive in time"),
    (foreign.PoolTimeoutError, ErrorKind.TIMEOUT, "no connection became free in time"),
    (foreign.RequestTimeoutError, ErrorKind.TIMEOUT, "no connection or no answer in time"),
    # Also a connection that was closed before any answer.
    (
        foreign.ConnectError,
        ErrorKind.CONNECTION,
        "no connection (refused, reset, unknown host, or TLS failure)",
    ),
    (foreign.NetworkError, ErrorKind.CONNECTION, "the connection broke before the answer was complete"),
    (foreign.DecodeError, ErrorKind.BAD_ANSWER, "the answer's body is broken"),
    (foreign.PyreqwestError, ErrorKind.CONNECTION, "the HTTP exchange failed"),
)


def translate(error: foreign.PyreqwestError) -> TransportError:
    """The library's exception as ours, without its text."""
    if isinstance(error, foreign.BuilderError):
        return TransportError(CANNOT_BE_BUILT)
    if isinstance(error, foreign.ConnectError) and (failure := _not_connected(error)) is not None:
        return TransportError(failure)
    for kind_of_error, kind, message in _TRANSLATIONS:
        if isinstance(error, kind_of_error):
            return TransportError(Failure(kind, Action.RETRY, message))
    raise AssertionError("the last translation takes every library error")


_PROXY_WANTS_CREDENTIALS = Failure(
    ErrorKind.CREDENTIALS,
    Action.JOB,
    "the proxy demands credentials (HTTP 407); they stand in its address: http://USER:PASSWORD@HOST:PORT",
    code=407,
)
# How the library's layers begin, most specific first, and what that means. Where the way to the proxy itself
# failed, the layers below say why, and `{whose}` is the proxy's.
_LAYERS = (
    ("tunnel error: unsuccessful", "the proxy refused to connect to the service"),
    ("tunnel error: unexpected end of file", "the proxy hung up instead of connecting to the service"),
    ("dns error", "the name of {whose} host is not known"),
    ("error resolving", "the name of {whose} host is not known"),
    ("invalid peer certificate", "{whose} certificate cannot be verified"),
    ("tls handshake eof", "TLS could not be agreed on with {whose} host"),
    ("received ", "TLS could not be agreed on with {whose} host"),
    ("peer ", "TLS could not be agreed on with {whose} host"),
)
_NUMBERS = {
    errno.ECONNREFUSED: "the connection was refused: nothing listens at {whose} address",
    errno.ECONNRESET: "the connection was reset while it was made",
    errno.EHOSTUNREACH: "there is no way to {whose} address",
    errno.ENETUNREACH: "there is no way to {whose} address",
}
_NUMBER = re.compile(r"\(os error ([0-9]+)\)$")


def _not_connected(error: foreign.ConnectError) -> Failure | None:
    """Why there is no connection, in our words; None where no layer is known."""
    details = getattr(error, "details", None) or {}
    layers = [str(cause.get("message", "")) for cause in details.get("causes", ())]
    if any(layer.startswith("tunnel error: proxy authorization") for layer in layers):
        return _PROXY_WANTS_CREDENTIALS
    to_proxy = any(layer.startswith("tunnel error: failed to create") for layer in layers)
    whose = "the proxy's" if to_proxy else "the service's or its proxy's"
    found = [text for begin, text in _LAYERS if any(layer.startswith(begin) for layer in layers)]
    found += [_NUMBERS.get(int(number[1]), "") for layer in layers if (number := _NUMBER.search(layer))]
    told = next(filter(None, found), None)
    if told is None:
        return None
    return Failure(ErrorKind.CONNECTION, Action.RETRY, told.format(whose=whose))


_PROXY_FOR = {
    "HTTPS_PROXY": ProxyBuilder.https,
    "HTTP_PROXY": ProxyBuilder.http,
    "ALL_PROXY": ProxyBuilder.all,
}


def _with_proxies(builder: ClientBuilder, base_url: str, environ: Mapping[str, str]) -> ClientBuilder:
    builder = builder.no_proxy()  # the library would read the process environment by itself
    for name, address in proxies(base_url, environ).items():
        if "://" not in address:
            address = f"http://{address}"  # noqa: PLW2901 - as other clients read HOST:PORT
        try:
            builder = builder.proxy(_PROXY_FOR[name](address).no_proxy(setting(environ, "NO_PROXY")))
        except (foreign.PyreqwestError, ValueError):
            # The address may hold a password, so it is not repeated.
            raise UsageError(
                f"the environment variable {name} is not a proxy address.", hint="Correct or unset it."
            ) from None
    return builder


def _with_certificates(builder: ClientBuilder, environ: Mapping[str, str]) -> ClientBuilder:
    for name, path in authorities(environ).items():
        try:
            bundle = path.read_bytes()
            for block in bundle.split(b"-----BEGIN CERTIFICATE-----")[1:]:
                builder = builder.add_root_certificate_pem(b"-----BEGIN CERTIFICATE-----" + block)
        except (OSError, foreign.PyreqwestError, ValueError):
            raise unusable_bundle(name, path) from None
    return builder
