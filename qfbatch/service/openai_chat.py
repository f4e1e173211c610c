"""Chat completions of the OpenAI protocol: the dialect of `service.api: openai-chat`.

A prompt that is a text goes out as one message of the user; a list of messages goes out as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from msgspec import Raw

from qfbatch.service.openai import COMMON_RULES, OpenAIRoute
from qfbatch.service.openai_answers import message_piece
from qfbatch.service.openai_regular import regular_message
from qfbatch.service.parameters import CountRule, FlagRule, Rules

OPENAI_CHAT_RULES: Rules = MappingProxyType(
    {
        **COMMON_RULES,
        "max_completion_tokens": CountRule("longest answer with its reasoning, tokens"),
        "logprobs": FlagRule("log probabilities of the answer's tokens"),
        "top_logprobs": CountRule("and of so many others at each place", low=0, high=100),
    }
)


class OpenAIChat(OpenAIRoute):
    """The dialect, stateless: one instance serves a whole run."""

    name = "openai-chat"
    rules = OPENAI_CHAT_RULES
    takes_messages = True
    path = "/chat/completions"
    read_piece = staticmethod(message_piece)
    read_regular = staticmethod(regular_message)

    def asked(self, prompt: str, *, messages: bool) -> Mapping[str, Any]:
        """A text is one message of the user's; messages go out as they are."""
        return {"messages": Raw(prompt.encode()) if messages else [{"role": "user", "content": prompt}]}
