"""Which variables of the driver's environment its nodes need: what calls and storage read, nothing else."""

from __future__ import annotations

from collections.abc import Mapping

from qfbatch.job.settings import Job
from qfbatch.service.dialects import dialect_named

_PREFIXES = ("QIANFAN_", "AWS_")
_NAMES = frozenset(
    {"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"}
)


def wanted_variables(job: Job, environ: Mapping[str, str]) -> dict[str, str]:
    """The variables to send to nodes.

    Args:
        job: the job; it may name variables that hold keys.
        environ: the driver's environment, with its `.env`.
    """
    names = set(_NAMES)
    for service in job.services:
        if service.key_env:
            names.add(service.key_env)
        names.update(dialect_named(service.api).key_variables(service.base_url))
    return {
        name: text
        for name, text in environ.items()
        if name.startswith(_PREFIXES) or name in names or name.upper() in _NAMES
    }


__all__ = ["wanted_variables"]
