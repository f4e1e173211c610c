"""The dialects by the name a job file gives them."""

from __future__ import annotations

from qfbatch.service.dialect import Dialect
from qfbatch.service.openai_chat import OpenAIChat
from qfbatch.service.openai_completions import OpenAICompletions
from qfbatch.service.qianfan import QianfanV1

# The first is the one of jobs that name none.
DIALECTS: dict[str, Dialect] = {
    dialect.name: dialect for dialect in (QianfanV1(), OpenAICompletions(), OpenAIChat())
}


def dialect_named(api: str) -> Dialect:
    """The dialect of `service.api`, which the job file's checks know to exist."""
    return DIALECTS[api]
