"""What the two routes of the OpenAI protocol share: address, keys, common parameters, encoding, decoding.

Spoken by Qianfan V2, OpenAI, vLLM, SGLang, llama.cpp's server and gateways. A route adds its path, its own
parameters, how a prompt is put and where an answer's text stands.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

import msgspec

from qfbatch.records import Completion, Failure
from qfbatch.service import openai_rates
from qfbatch.service.dialect import Access, Call, Header, RateSignals
from qfbatch.service.openai_answers import ReadPiece
from qfbatch.service.openai_errors import HTTP_OK
from qfbatch.service.openai_stream import OpenAIStream
from qfbatch.service.openai_whole import whole_answer
from qfbatch.service.parameters import (
    CountRule,
    FlagRule,
    NumberRule,
    RefusedRule,
    Rule,
    TextListRule,
    TextRule,
)

QIANFAN_HOST = "baidubce.com"
OPENAI_HOST = "openai.com"
QIANFAN_KEY, OPENAI_KEY = "QIANFAN_BEARER_TOKEN", "OPENAI_API_KEY"

OPENAI_ACCESS = Access(
    base_url="https://qianfan.baidubce.com/v2",
    variable="OPENAI_BASE_URL",
    local_path="/v1",
    auths=("auto", "bearer", "none"),
    open_on_loopback=True,
)

_ONE_ANSWER = "is not for jobs: a row has one answer; repeat the row or the model for more"

COMMON_RULES: dict[str, Rule] = {
    "max_tokens": CountRule("longest answer, tokens"),
    "temperature": NumberRule("randomness of sampling; 0 takes the most likely token", 0.0, 2.0),
    "top_p": NumberRule("share of probability sampled from; set only one of temperature and top_p", 0.0, 1.0),
    "top_k": CountRule("number of most likely tokens sampled from; 0 or -1 is all of them", low=-1),
    "seed": CountRule("same seed, same answer, as far as the server can", low=-(2**63)),
    "presence_penalty": NumberRule("penalty on tokens that occurred; 0 is none", -2.0, 2.0),
    "frequency_penalty": NumberRule("penalty on tokens by how often they occurred; 0 is none", -2.0, 2.0),
    "repetition_penalty": NumberRule("factor against repetition; 1 is none", 0.0, 10.0, above=True),
    "stop": TextListRule(
        "the answer ends before one of these; Qianfan takes 4 of at most 20 characters, OpenAI 4", 64, 1000
    ),
    "user": TextRule("identifier of the end user"),
    "stream": FlagRule("ask for the answer as a stream of events"),
    "n": RefusedRule(_ONE_ANSWER),
    "best_of": RefusedRule(_ONE_ANSWER),
    "model": RefusedRule("is the model's `endpoint`"),
    "messages": RefusedRule("come from the input, not from here"),
}

_encoder = msgspec.json.Encoder()
_HEADERS = {"Content-Type": "application/json"}
_WITH_USAGE = {"include_usage": True}


class OpenAIRoute:
    """One route, stateless; a dialect is a subclass with its name, rules and prompt.

    Attributes:
        path: of the route, after the base URL.
        read_piece: reads the route's choices.
        read_regular: reads a whole answer in which everything is as documented; None for others.
    """

    path: str
    read_piece: ReadPiece
    read_regular: Callable[[bytes], Completion | None]
    access = OPENAI_ACCESS

    def refuse_endpoint(self, endpoint: str) -> str | None:
        """The model's name goes into the body, so any will do; see `Dialect.refuse_endpoint`."""
        del endpoint
        return None

    def key_variables(self, base_url: str) -> tuple[str, ...]:
        """A key goes to its own service without being asked; elsewhere the general name comes first."""
        host = urlsplit(base_url).hostname or ""
        if host == QIANFAN_HOST or host.endswith(f".{QIANFAN_HOST}"):
            return (QIANFAN_KEY,)
        if host == OPENAI_HOST or host.endswith(f".{OPENAI_HOST}"):
            return (OPENAI_KEY,)
        return (OPENAI_KEY, QIANFAN_KEY)

    def decode(self, status: int, header: Header, body: bytes, *, now: float) -> Completion | Failure:
        """The outcome of a call answered as a whole; see `Dialect.decode`."""
        if status == HTTP_OK and (regular := type(self).read_regular(body)) is not None:
            return regular
        return whole_answer(type(self).read_piece, status, header, body, now=now)

    def stream_decoder(self, status: int, header: Header, *, now: float) -> OpenAIStream:
        """A decoder for one streamed answer; errors and gateways may answer it as a whole instead."""
        return OpenAIStream(type(self).read_piece, status, header, now=now)

    def rate_signals(self, header: Header) -> RateSignals | None:
        """The `x-ratelimit-*` headers; limits are per minute."""
        return openai_rates.rate_signals(header)

    def asked(self, prompt: str, *, messages: bool) -> Mapping[str, Any]:
        """The body's fields that hold what is asked.

        Args:
            prompt: the text, or the JSON text of a list of messages.
            messages: which of the two; True only where the route takes messages.
        """
        raise NotImplementedError

    def encode(
        self, endpoint: str, prompt: str, parameters: Mapping[str, Any], *, messages: bool = False
    ) -> Call:
        """The call that asks `endpoint` to answer `prompt`; see `Dialect.encode`."""
        stream = parameters.get("stream") is True
        body = {"model": endpoint, **self.asked(prompt, messages=messages), **parameters}
        if stream and "stream_options" not in parameters:  # which the job may say itself, under `extra`
            body["stream_options"] = _WITH_USAGE
        return Call(path=self.path, headers=_HEADERS, body=_encoder.encode(body), stream=stream)
