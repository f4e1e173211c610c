"""Which transport a run takes: its own sockets, or the HTTP library where a proxy may stand between."""

from __future__ import annotations

from collections.abc import Mapping

from qfbatch.transport.direct import DirectTransport
from qfbatch.transport.environment import proxies
from qfbatch.transport.reqwest import ReqwestTransport
from qfbatch.transport.seam import Transport


def open_transport(*, base_url: str, connect_timeout_s: float, environ: Mapping[str, str]) -> Transport:
    """A transport for calls to `base_url`; it must be closed.

    Args:
        base_url: where the calls will go.
        connect_timeout_s: longest duration of connecting.
        environ: proxies and certificate authorities; see `transport.environment`.

    Raises:
        UsageError: if a proxy or a CA file from the environment cannot be used.
    """
    if proxies(base_url, environ):
        return ReqwestTransport(base_url=base_url, connect_timeout_s=connect_timeout_s, environ=environ)
    return DirectTransport(base_url=base_url, connect_timeout_s=connect_timeout_s, environ=environ)
