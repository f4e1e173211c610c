"""The dialects by the name a job file gives them."""

from __future__ import annotations

from qfbatch.service.dialect import Dialect
from qfbatch.service.qianfan import QianfanV1

DIALECTS: dict[str, type[Dialect]] = {"qianfan": QianfanV1}


def dialect_named(api: str) -> Dialect:
    """The dialect of `service.api`, which the job file's checks know to exist."""
    return DIALECTS[api]()
