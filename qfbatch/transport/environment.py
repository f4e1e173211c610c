"""What the environment says of the way to a service: proxies and certificate authorities.

HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY in either case, SSL_CERT_FILE and REQUESTS_CA_BUNDLE. Loopback
addresses never go through a proxy.
"""

from __future__ import annotations

import ipaddress
import ssl
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from qfbatch.errors import UsageError

PROXY_NAMES = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY")
_BUNDLE_NAMES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")


def setting(environ: Mapping[str, str], name: str) -> str | None:
    """A proxy variable's value in either case; None where unset or empty."""
    return environ.get(name) or environ.get(name.lower()) or None


def proxies(base_url: str, environ: Mapping[str, str]) -> dict[str, str]:
    """The proxies that may concern calls to `base_url`: variable name → address, perhaps with a password."""
    if is_loopback(urlsplit(base_url).hostname or ""):
        return {}
    found = {name: setting(environ, name) for name in PROXY_NAMES}
    return {name: address for name, address in found.items() if address is not None}


def authorities(environ: Mapping[str, str]) -> dict[str, Path]:
    """Files of certificate authorities to trust: variable name → path.

    Raises:
        UsageError: a file cannot be used.
    """
    found = {name: Path(environ[name]) for name in _BUNDLE_NAMES if environ.get(name)}
    for path, name in {path: name for name, path in found.items()}.items():  # each file once: 20 ms
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=path)
        except (OSError, ValueError):
            raise unusable_bundle(name, path) from None
    return found


def unusable_bundle(name: str, path: Path) -> UsageError:
    """The error about a file of authorities that cannot be read."""
    return UsageError(
        f"the environment variable {name} names {path}, which cannot be read as PEM certificates.",
        hint="Correct or unset it.",
    )


def is_loopback(host: str) -> bool:
    """Whether a host is this machine itself."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
