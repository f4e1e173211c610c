"""The way to each service, for runs and checks: address, dialect, HTTP client, credentials."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass

from qfbatch.credentials import Authorizer, find_authorizer
from qfbatch.job.settings import LOCAL, Job, ServiceSettings
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
def service_addresses(job: Job) -> Iterator[dict[ServiceSettings, str]]:
    """The addresses of the job's services; one embedded server, where it is asked for, runs for the context.

    Raises:
        UsageError: the embedded server cannot be started; the message says what is missing.
    """
    addresses = {service: service.base_url.rstrip("/") for service in job.services}
    local = [service for service in addresses if service.base_url == LOCAL]
    if not local:
        yield addresses
        return
    with EmbeddedServer() as server:
        for service in local:
            addresses[service] = server.base_url + (dialect_named(service.api).access.local_path or "")
        yield addresses


@asynccontextmanager
async def connections(
    job: Job,
    addresses: Mapping[ServiceSettings, str],
    *,
    environ: Mapping[str, str],
    now: Callable[[], float],
    on_renewed: Callable[[], None] = lambda: None,
) -> AsyncIterator[dict[ServiceSettings, Connection]]:
    """The job's connections, one a service, closed with the context.

    Args:
        job: the job.
        addresses: from `service_addresses`.
        environ: where credentials, proxies and certificates are found.
        now: wall clock, seconds since the epoch.
        on_renewed: told when a service called a token stale and a new one was fetched.

    Raises:
        ServiceRefused: the credentials the job asks for are not set.
        UsageError: a proxy or certificate setting of the environment is wrong.
    """
    async with AsyncExitStack() as opened:
        found = {}
        for service, base_url in addresses.items():
            transport = open_transport(
                base_url=base_url, connect_timeout_s=job.retry.connect_timeout_s, environ=environ
            )
            # Always: an HTTP client left open takes the interpreter down at exit.
            opened.push_async_callback(transport.close)
            dialect = dialect_named(service.api)
            authorizer = find_authorizer(
                "none" if service.base_url == LOCAL else service.auth,
                dialect=dialect,
                key_env=service.key_env,
                base_url=base_url,
                environ=environ,
                transport=transport,
                now=now,
                on_renewed=on_renewed,
            )
            found[service] = Connection(base_url, dialect, transport, authorizer)
        yield found
