"""The real engine: llama.cpp with its own batching server, in this process.

Facts of the library that shape this module: leaving with work in flight crashes the process, so work is
cancelled by its callback, the threads are joined, and only then the engine goes; a request that does not
stream cannot be cancelled, so all of them do; errors arrive as dicts in the callback; an exception in the
callback ends the generation silently; it opens a loopback port of its own, which gets a random key; and its
prompt cache would take gigabytes.
"""

from __future__ import annotations

import asyncio
import hashlib
import mmap
import secrets
import threading
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import xllamacpp

from qfbatch.errors import UsageError
from qfbatch.server.embedded import MAX_TOKENS, SLOTS
from qfbatch.server.engine import Call, Finish, Message, Piece, Refusal

TEMPERATURE = 0.2  # where none is asked for: a model this small loses the thread at the customary 0.8
_TOO_LONG = "exceed_context_size_error"
_CHAT_TEMPLATE_KEY = b"tokenizer.chat_template"
_HEADER_BYTES = 64 * 1024 * 1024  # a model file's metadata is far smaller


@dataclass(frozen=True, slots=True)
class LlamaSettings:
    """How a model is served.

    Attributes:
        model: a GGUF file.
        endpoint: the one name it answers under.
        max_tokens: tokens of an answer at most, where the request does not say how many; V1 never does.
        slots: answers generated at once.
        context: tokens of prompt and answer, each slot.
        waiting: calls that may wait for a slot; one more is refused as high load.
        threads: threads that compute; None takes all cores.
        system: the system message of a chat model; None leaves it to the model's template.
    """

    model: Path
    endpoint: str
    max_tokens: int = MAX_TOKENS
    slots: int = SLOTS
    context: int = 1024
    waiting: int = 1024
    threads: int | None = None
    system: str | None = None


class LlamaEngine:
    """One loaded model. Loading blocks for about a second.

    Raises:
        UsageError: the file cannot be loaded as a model.
    """

    stops_on_hang_up = True

    def __init__(self, settings: LlamaSettings) -> None:
        self._settings = settings
        self.endpoints = (settings.endpoint,)
        self._chats = has_chat_template(settings.model)
        self._server = _load(settings)
        self._threads = ThreadPoolExecutor(settings.slots, thread_name_prefix="llama")
        self._closing = threading.Event()
        self._calls = 0

    def knows(self, endpoint: str) -> bool:
        """Whether it is the model's own name."""
        return endpoint == self._settings.endpoint

    async def generate(self, call: Call) -> AsyncGenerator[Piece, None]:
        """The model's answer, piece by piece; leaving early frees the slot.

        Raises:
            Refusal: 336100 where too many wait, 336103 for a prompt beyond the context, 336003 for what this
                model cannot do, 336000.
        """
        if call.suffix:
            raise Refusal(336003, "suffix is not supported by this model")
        if call.chat and not self._chats:
            raise Refusal(336003, "this model has no chat template: ask it for text completions")
        if self._calls >= self._settings.slots + self._settings.waiting:
            raise Refusal(336100)
        loop = asyncio.get_running_loop()
        heard: asyncio.Queue[Piece | Refusal] = asyncio.Queue()
        listener = _Listener(lambda said: loop.call_soon_threadsafe(heard.put_nowait, said), self._closing)
        self._calls += 1
        speaking = self._threads.submit(self._speak, self._request(call), listener)
        try:
            while True:
                said = await heard.get()
                if isinstance(said, Refusal):
                    raise said
                yield said
                if said.finish is not None:
                    return
        finally:
            self._calls -= 1
            listener.cancelled.set()
            speaking.cancel()

    def _request(self, call: Call) -> dict[str, Any]:
        """The call as llama.cpp's server wants it."""
        sampling = call.sampling
        asked: dict[str, Any] = {
            "max_tokens": sampling.max_tokens or self._settings.max_tokens,
            "stream": True,
            "stream_options": {"include_usage": True},
            "timings_per_token": True,
            "seed": seed_of(call),
            "temperature": TEMPERATURE if sampling.temperature is None else sampling.temperature,
            "top_p": sampling.top_p,
            "top_k": sampling.top_k,
            "repeat_penalty": sampling.penalty_score,
            "presence_penalty": sampling.presence_penalty,
            "frequency_penalty": sampling.frequency_penalty,
            "stop": list(sampling.stop) or None,
        }
        if self._chats:
            asked["messages"] = msgspec.to_builtins(self._conversation(call))
        else:
            asked["prompt"] = call.prompt
        return {name: value for name, value in asked.items() if value is not None}

    def _conversation(self, call: Call) -> list[Message]:
        """The messages for the chat template: a bare prompt is the user's; the system message may be ours."""
        messages = [*call.earlier, Message("user", call.prompt)]
        system = self._settings.system
        if system is not None and messages[0].role != "system":
            messages.insert(0, Message("system", system))
        return messages

    def _speak(self, request: dict[str, Any], listener: _Listener) -> None:
        """One generation, in a caller thread of its own."""
        if listener.cancelled.is_set() or self._closing.is_set():
            listener.end()
            return
        try:
            handle = self._server.handle_chat_completions if self._chats else self._server.handle_completions
            handle(request, listener)
        except Exception as error:  # noqa: BLE001 - a foreign engine: whatever it raises is its failure
            listener.refuse(Refusal(336000, f"Internal error: {error}"))
        listener.end()

    def close(self) -> None:
        """Cancel what is in flight, wait for it, then let the engine go: in this order it does not crash."""
        self._closing.set()
        self._threads.shutdown(wait=True, cancel_futures=True)
        self._server = None


class _Listener:
    """Turns what llama.cpp's callback is given into pieces.

    Args:
        tell: takes each piece, from any thread.
        closing: set once the engine is about to go.
    """

    def __init__(self, tell: Callable[[Piece | Refusal], object], closing: threading.Event) -> None:
        self.cancelled = threading.Event()
        self._tell = tell
        self._closing = closing
        self._prompt_tokens = 0
        self._completion_tokens = 0
        self._reason: str | None = None
        self._over = False

    def __call__(self, said: Any) -> bool:
        """One chunk or error; True stops the generation. Must not raise."""
        try:
            for part in said if isinstance(said, list) else [said]:
                self._hear(part)
        except Exception as error:  # noqa: BLE001 - raised into the library it would be lost
            self.refuse(Refusal(336000, f"Internal error: {error!r}"))
        return self._over or self.cancelled.is_set() or self._closing.is_set()

    def _hear(self, said: dict[str, Any]) -> None:
        if "error" in said:
            error = said["error"]
            code = 336103 if error.get("type") == _TOO_LONG else 336000
            self.refuse(Refusal(code, str(error.get("message", ""))))
            return
        text = ""
        for choice in said.get("choices", ()):
            text += choice.get("text") or (choice.get("delta") or {}).get("content") or ""
            self._reason = choice.get("finish_reason") or self._reason
        timings = said.get("timings")
        if timings:
            self._prompt_tokens = timings["prompt_n"] + timings.get("cache_n", 0)
            self._completion_tokens = timings["predicted_n"]
        if text:
            self._tell(Piece(text, self._prompt_tokens, self._completion_tokens))
        usage = said.get("usage")
        if usage:
            self._prompt_tokens = usage["prompt_tokens"]
            self._completion_tokens = usage["completion_tokens"]
            if self._reason is not None:
                self._finish()

    def _finish(self) -> None:
        reason = "length" if self._reason == "length" else "normal"
        self._over = True
        self._tell(Piece("", self._prompt_tokens, self._completion_tokens, Finish(reason)))

    def refuse(self, refusal: Refusal) -> None:
        """End with an error, once."""
        if not self._over:
            self._over = True
            self._tell(refusal)

    def end(self) -> None:
        """The generation has returned: it must have said how it ended."""
        if not self._over and not self.cancelled.is_set():
            self.refuse(Refusal(336100 if self._closing.is_set() else 336000))


def seed_of(call: Call) -> int:
    """The seed asked for, else one that depends on the request alone: the same request, the same answer."""
    if call.sampling.seed is not None:
        return call.sampling.seed
    asked = msgspec.json.encode((*call.earlier, call.prompt, call.sampling))
    return int.from_bytes(hashlib.blake2b(asked, digest_size=4).digest(), "big") % (2**32 - 1)


def has_chat_template(model: Path) -> bool:
    """Whether the model file brings a chat template: then a prompt is a user's message, else bare text."""
    with model.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return content.find(_CHAT_TEMPLATE_KEY, 0, _HEADER_BYTES) >= 0


def _load(settings: LlamaSettings) -> Any:
    """A llama.cpp server that holds the model."""
    params = xllamacpp.CommonParams()
    params.model.path = str(settings.model)
    params.n_parallel = settings.slots
    params.n_ctx = settings.slots * settings.context
    params.kv_unified = False  # a sequence's text must not depend on its neighbours
    params.cache_ram_mib = 0
    params.hostnames = ["127.0.0.1"]
    params.api_keys = [secrets.token_hex(32)]
    params.n_threads_http = 1
    params.verbosity = 0
    params.cpuparams.poll = 0  # threads that wait sleep: the client has the other core
    if settings.threads is not None:
        params.cpuparams.n_threads = settings.threads
    try:
        return xllamacpp.Server(params)
    except Exception as error:  # noqa: BLE001 - a foreign engine: whatever it raises is its refusal
        raise UsageError(
            f"cannot load the model {settings.model}: {error}",
            hint="It must be a GGUF file of a text model that llama.cpp supports.",
        ) from None


__all__ = ["LlamaEngine", "LlamaSettings", "has_chat_template", "seed_of"]
