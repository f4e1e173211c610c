"""The dialects by the name a job file gives them: qfbatch's own, and those of installed packages."""

from __future__ import annotations

from typing import TypeGuard

from qfbatch.service.dialect import Dialect
from qfbatch.service.installed import UnusableDialect, installed_dialect
from qfbatch.service.openai_chat import OpenAIChat
from qfbatch.service.openai_completions import OpenAICompletions
from qfbatch.service.qianfan import QianfanV1

# The first is the one of jobs that name none.
DIALECTS: dict[str, Dialect] = {
    dialect.name: dialect for dialect in (QianfanV1(), OpenAICompletions(), OpenAIChat())
}


def dialect_named(api: str) -> Dialect:
    """The dialect of `service.api`, which the job file's checks know to exist.

    Raises:
        KeyError: there is none of this name.
        UnusableDialect: an installed package has one that cannot be used.
    """
    dialect = DIALECTS.get(api) or installed_dialect(api)
    if dialect is None:
        raise KeyError(api)
    return dialect


def is_dialect(api: object) -> TypeGuard[str]:
    """Whether there is a dialect of this name that can be used."""
    try:
        return isinstance(api, str) and dialect_named(api) is not None
    except (KeyError, UnusableDialect):
        return False
