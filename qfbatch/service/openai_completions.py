"""Completions of the OpenAI protocol (Qianfan V2, vLLM, llama.cpp): the dialect of `service.api: openai`."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from qfbatch.service.openai import COMMON_RULES, OpenAIRoute
from qfbatch.service.openai_answers import text_piece
from qfbatch.service.openai_regular import regular_text
from qfbatch.service.parameters import CountRule, Rules, TextRule

OPENAI_RULES: Rules = MappingProxyType(
    {
        **COMMON_RULES,
        "suffix": TextRule("text that follows the answer, for models that fill in"),
        "logprobs": CountRule("log probabilities of so many tokens at each place", low=0, high=100),
    }
)


class OpenAICompletions(OpenAIRoute):
    """The dialect, stateless: one instance serves a whole run."""

    name = "openai"
    rules = OPENAI_RULES
    takes_messages = False
    path = "/completions"
    read_piece = staticmethod(text_piece)
    read_regular = staticmethod(regular_text)

    def asked(self, prompt: str, *, messages: bool) -> Mapping[str, Any]:
        """The text itself; the job's checks refuse messages where the dialect takes none."""
        assert not messages, "refused by the job's checks"  # noqa: S101
        return {"prompt": prompt}
