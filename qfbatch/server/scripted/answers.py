"""The scripted engine's answers: a function of endpoint, prompt and sampling. Pure but for its delays."""

from __future__ import annotations

import asyncio
import math
import random
import re
import zlib
from collections.abc import AsyncGenerator, Callable

import msgspec

from qfbatch.server.engine import Call, Finish, Piece
from qfbatch.server.scripted.grammar import (
    AnswerScript,
    EndpointScript,
    PromptScript,
    ScriptError,
    read_endpoint,
    read_prompt,
)

_TOKEN = re.compile(r"[\u3400-\u9fff]|[^\s\u3400-\u9fff]+")
_WORDS = [
    "amber",
    "bridge",
    "cedar",
    "delta",
    "ember",
    "field",
    "grove",
    "harbor",
    "island",
    "juniper",
    "kettle",
    "lantern",
    "meadow",
    "north",
    "orchard",
    "pebble",
    "quartz",
    "river",
    "saddle",
    "timber",
    "umbra",
    "valley",
    "willow",
    "xylem",
    "yonder",
    "zephyr",
]


def count_tokens(text: str) -> int:
    """The engine's token rule: one per Han character, one per run of other non-blank characters."""
    return len(_TOKEN.findall(text))


def answer_text(call: Call, endpoint: EndpointScript, script: PromptScript) -> str:
    """The whole answer: `echo` repeats the prompt without directives, `words` draws by all that was asked."""
    answer = script.answer
    if answer.empty:
        return ""
    text = script.text if endpoint.name == "echo" else _words(call, answer.tokens)
    if answer.size > len(text):
        text = (text or "x") * math.ceil(answer.size / max(len(text), 1))
    return _stopped(text, call.sampling.stop)


def delay_of(answer: AnswerScript, prompt: str) -> float:
    """Seconds before the answer; lognormal around `delay` where `sigma` is set, drawn by the prompt."""
    if not answer.sigma:
        return answer.delay
    seed = zlib.crc32(prompt.encode("utf-8", "replace"))
    return answer.delay * math.exp(answer.sigma * random.Random(seed).gauss(0, 1))  # noqa: S311 - repeatable


class ScriptedEngine:
    """Answers by rule.

    Args:
        on_close: called when the server ends.
    """

    def __init__(self, on_close: Callable[[], None]) -> None:
        self._on_close = on_close

    stops_on_hang_up = False  # like the service: an answer that was asked for is made, and billed
    endpoints = ("echo", "words")

    def knows(self, endpoint: str) -> bool:
        """Whether the grammar understands the name."""
        try:
            read_endpoint(endpoint)
        except ScriptError:
            return False
        return True

    async def generate(self, call: Call) -> AsyncGenerator[Piece, None]:
        """The answer, whole or, for a stream, in a few pieces."""
        endpoint = read_endpoint(call.endpoint)
        script = read_prompt(call.prompt, endpoint)
        answer = script.answer
        text = answer_text(call, endpoint, script)
        if answer.delay:
            await asyncio.sleep(delay_of(answer, call.prompt))
        prompt_tokens = count_tokens(call.prompt)
        finish = Finish(
            reason="length" if answer.truncated else "normal",
            unsafe=True if answer.unsafe else None,
            with_usage=not answer.no_usage,
            kind=answer.object,
        )
        if call.stream:
            said = ""
            for part in _parts(text, answer.pieces):
                said += part
                yield Piece(part, prompt_tokens, count_tokens(said))
                if answer.gap:
                    await asyncio.sleep(answer.gap)
            text_left = ""
        else:
            text_left = text
        yield Piece(text_left, prompt_tokens, count_tokens(text), finish)

    def close(self) -> None:
        """Nothing of its own to free."""
        self._on_close()


def _words(call: Call, tokens: int) -> str:
    asked = msgspec.json.encode((call.prompt, call.sampling))
    draw = random.Random(zlib.crc32(asked))  # noqa: S311 - repeatable
    return " " + " ".join(draw.choices(_WORDS, k=tokens))


def _stopped(text: str, stops: tuple[str, ...]) -> str:
    """The text up to and without the first stop text in it."""
    ends = [end for stop in stops if (end := text.find(stop)) >= 0]
    return text[: min(ends)] if ends else text


def _parts(text: str, pieces: int) -> list[str]:
    if not text:
        return []
    step = math.ceil(len(text) / max(pieces, 1))
    return [text[start : start + step] for start in range(0, len(text), step)]


__all__ = ["ScriptedEngine", "answer_text", "count_tokens", "delay_of"]
