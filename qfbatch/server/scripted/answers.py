"""The scripted engine's answers: a function of endpoint, prompt and sampling. Pure but for its delays."""

from __future__ import annotations

import asyncio
import math
import random
import re
import zlib
from collections.abc import AsyncGenerator, Callable
from itertools import islice

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


def prompt_tokens(call: Call) -> int:
    """Tokens of all that was asked: the prompt, what came before it and what is to come after."""
    if not call.earlier and not call.suffix:
        return count_tokens(call.prompt)
    return sum(count_tokens(text) for text in (*_context(call), call.prompt))


def answer_text(call: Call, endpoint: EndpointScript, script: PromptScript) -> tuple[str, bool]:
    """The whole answer, and whether the cap on tokens cut it.

    `echo` repeats the prompt without directives, `words` draws by all that was asked.
    """
    answer = script.answer
    if answer.empty:
        return "", False
    text = script.text if endpoint.name == "echo" else _words(call, answer.tokens)
    if answer.size > len(text):
        text = (text or "x") * math.ceil(answer.size / max(len(text), 1))
    return _capped(_stopped(text, call.sampling.stop), call.sampling.max_tokens)


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
        text, cut = answer_text(call, endpoint, script)
        if answer.delay:
            await asyncio.sleep(delay_of(answer, call.prompt))
        asked = prompt_tokens(call)
        finish = Finish(
            reason="length" if answer.truncated or cut else "normal",
            unsafe=True if answer.unsafe else None,
            with_usage=not answer.no_usage,
            kind=answer.object,
        )
        if call.stream:
            said = ""
            for part in _parts(text, answer.pieces):
                said += part
                yield Piece(part, asked, count_tokens(said))
                if answer.gap:
                    await asyncio.sleep(answer.gap)
            text_left = ""
        else:
            text_left = text
        yield Piece(text_left, asked, count_tokens(text), finish)

    def close(self) -> None:
        """Nothing of its own to free."""
        self._on_close()


def _words(call: Call, tokens: int) -> str:
    asked = msgspec.json.encode((*_context(call), call.prompt, call.sampling))
    draw = random.Random(zlib.crc32(asked))  # noqa: S311 - repeatable
    return " " + " ".join(draw.choices(_WORDS, k=tokens))


def _context(call: Call) -> list[str]:
    """What was asked beside the prompt."""
    return [*(message.content for message in call.earlier), *([call.suffix] if call.suffix else [])]


def _capped(text: str, tokens: int | None) -> tuple[str, bool]:
    """The text's first tokens, and whether there were more."""
    if tokens is None:
        return text, False
    found = list(islice(_TOKEN.finditer(text), tokens + 1))
    return (text[: found[-2].end()], True) if len(found) > tokens else (text, False)


def _stopped(text: str, stops: tuple[str, ...]) -> str:
    """The text up to and without the first stop text in it."""
    ends = [end for stop in stops if (end := text.find(stop)) >= 0]
    return text[: min(ends)] if ends else text


def _parts(text: str, pieces: int) -> list[str]:
    if not text:
        return []
    step = math.ceil(len(text) / max(pieces, 1))
    return [text[start : start + step] for start in range(0, len(text), step)]


__all__ = ["ScriptedEngine", "answer_text", "count_tokens", "delay_of", "prompt_tokens"]
