"""The way to the service, for runs and checks: its address, its dialect, the HTTP client, the credentials."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

from qfbatch.credentials import Authorizer, find_authorizer
from qfbatch.job.settings import LOCAL, Job
from qfbatch.server.embedded import EmbeddedServer
from qfbatch.service.dialect import Dialect
from qfbatch.service.dialects import dialect_named
from qfbatch.transport import Transport, open_transport


@dataclass(frozen=True, slots=True)
class Connection:
    """What a call needs besides its content.

    Attributes:
        base_url: where calls go.
        dialect: what is said.
        transport: how it travels.
        authorizer: on whose account.
    """

    base_url: str
    dialect: Dialect
    transport: Transport
    authorizer: Authorizer


@contextmanager
def service_address(job: Job) -> Iterator[str]:
    """The service's address; the embedded server, where the job asks for it, runs while the context lasts.

    Raises:
        UsageError: the embedded server cannot be started; the message says what is missing.
    """
    if job.service.base_url != LOCAL:
        yield job.service.base_url.rstrip("/")
        return
    with EmbeddedServer() as server:
        yield server.base_url + (dialect_named(job.service.api).access.local_path or "")


@asynccontextmanager
async def connection(
    job: Job,
    base_url: str,
    *,
    environ: Mapping[str, str],
    now: Callable[[], float],
    on_renewed: Callable[[], None] = lambda: None,
) -> AsyncIterator[Connection]:
    """The job's connection to the service at `base_url`, closed with the context.

    Args:
        job: the job.
        base_url: from `service_address`.
        environ: where credentials, proxies and certificates are found.
        now: wall clock, seconds since the epoch.
        on_renewed: told when the service called a token stale and a new one was fetched.

    Raises:
        ServiceRefused: the credentials the job asks for are not set.
        UsageError: a proxy or certificate setting of the environment is wrong.
    """
    transport = open_transport(
        base_url=base_url, connect_timeout_s=job.retry.connect_timeout_s, environ=environ
    )
    try:
        dialect = dialect_named(job.service.api)
        authorizer = find_authorizer(
            "none" if job.service.base_url == LOCAL else job.service.auth,
            dialect=dialect,
            key_env=job.service.key_env,
            base_url=base_url,
            environ=environ,
            transport=transport,
            now=now,
            on_renewed=on_renewed,
        )
        yield Connection(base_url, dialect, transport, authorizer)
    finally:
        # Always: an HTTP client left open takes the interpreter down at exit.
        await transport.close()
