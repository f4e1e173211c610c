"""Services in memory: they count quotas in their own ways, take their time, and refuse."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

from qfbatch.records import Action, Completion, ErrorKind, Failure, Usage
from qfbatch.service.dialect import Call, Header, RateSignals, StreamDecoder
from qfbatch.service.qianfan import QIANFAN_V1_ACCESS, QIANFAN_V1_RULES
from qfbatch.transport import Answer as HttpAnswer
from qfbatch.transport import HttpCall, Response, TransportError

Answer = Completion | Failure
THROTTLED = Failure(ErrorKind.RATE_LIMITED, Action.THROTTLE, "rpm limit", code=336501)
OVERLOADED = Failure(ErrorKind.OVERLOADED, Action.THROTTLE, "high load", code=336100)
UPLINK_S = 0.02
UPLINK_JITTER_S = 0.005


def answered(tokens: int = 10, text: str = "ok") -> Completion:
    """An answer of so many tokens in all."""
    return Completion(text, Usage(tokens // 2, tokens - tokens // 2, tokens))


class Window(Protocol):
    """One way of counting a quota."""

    def fits(self, units: float, now: float) -> bool:
        """Whether so many units may be spent now."""

    def spend(self, units: float, now: float) -> None:
        """Spend them."""


class FixedWindow:
    """So many units between two ticks of a clock."""

    def __init__(self, limit: float, window_s: float, phase_s: float = 0.0) -> None:
        self._limit, self._window_s, self._phase_s = limit, window_s, phase_s
        self._number, self._used = -1.0, 0.0

    def fits(self, units: float, now: float) -> bool:
        """Whether so many units may be spent now."""
        number = (now + self._phase_s) // self._window_s
        if number != self._number:
            self._number, self._used = number, 0.0
        return self._used + units <= self._limit

    def spend(self, units: float, now: float) -> None:
        """Spend them."""
        self._used += units


class SlidingWindow:
    """So many units within any stretch of time."""

    def __init__(self, limit: float, window_s: float) -> None:
        self._limit, self._window_s = limit, window_s
        self._log: deque[tuple[float, float]] = deque()
        self._used = 0.0

    def fits(self, units: float, now: float) -> bool:
        """Whether so many units may be spent now."""
        while self._log and self._log[0][0] <= now - self._window_s:
            self._used -= self._log.popleft()[1]
        return self._used + units <= self._limit

    def spend(self, units: float, now: float) -> None:
        """Spend them."""
        self._log.append((now, units))
        self._used += units


class TokenBucket:
    """Units flow in evenly; what is not spent is kept, up to a capacity."""

    def __init__(self, per_second: float, capacity: float) -> None:
        self._per_second, self._capacity = per_second, capacity
        self._level, self._at = capacity, 0.0

    def fits(self, units: float, now: float) -> bool:
        """Whether so many units may be spent now."""
        self._level = min(self._capacity, self._level + (now - self._at) * self._per_second)
        self._at = now
        return self._level >= units

    def spend(self, units: float, now: float) -> None:
        """Spend them."""
        self._level -= units


class Service(Protocol):
    """Answers prompts."""

    async def answer(self, prompt: str) -> Answer:
        """The outcome of one call."""

    def signals(self) -> RateSignals | None:
        """What the headers of the answer say."""


class QuotaService:
    """Answers after a random time, unless one of its windows is full.

    Args:
        requests, tokens: its windows over calls and over tokens.
        latency_s: draws how long an answer takes.
        tokens_of: draws what an answer costs.
        signals: what its headers say.
        retry_after_s: what its refusals ask for.
    """

    def __init__(
        self,
        *,
        requests: tuple[Window, ...] = (),
        tokens: tuple[Window, ...] = (),
        latency_s: Callable[[random.Random], float] = lambda rng: rng.lognormvariate(-1.2, 0.5),
        tokens_of: Callable[[random.Random], int] = lambda _: 100,
        signals: RateSignals | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        self._requests, self._tokens = requests, tokens
        self._latency_s, self._tokens_of = latency_s, tokens_of
        self._signals = signals
        self._retry_after_s = retry_after_s
        self._rng = random.Random(7)
        self.accepted: list[tuple[float, int]] = []  # arrival, tokens
        self.refused: list[float] = []

    async def answer(self, prompt: str) -> Answer:
        """The outcome of one call."""
        loop, rng = asyncio.get_running_loop(), self._rng
        await asyncio.sleep(UPLINK_S + rng.random() * UPLINK_JITTER_S)
        now, tokens = loop.time(), self._tokens_of(rng)
        fits = [window.fits(1, now) for window in self._requests]
        fits += [window.fits(tokens, now) for window in self._tokens]
        if not all(fits):
            self.refused.append(now)
            return Failure(
                THROTTLED.kind,
                THROTTLED.action,
                THROTTLED.message,
                code=THROTTLED.code,
                retry_after_s=self._retry_after_s,
            )
        for window in self._requests:
            window.spend(1, now)
        for window in self._tokens:
            window.spend(tokens, now)
        self.accepted.append((now, tokens))
        await asyncio.sleep(self._latency_s(rng))
        return answered(tokens)

    def signals(self) -> RateSignals | None:
        """What the headers of the answer say."""
        return self._signals


class ScriptedService:
    """Answers each prompt by its own script, the last entry for ever.

    Args:
        script: outcomes by prompt, in order of the calls made for it.
        latency_s: how long a call takes, or a function of the prompt.
    """

    def __init__(
        self, script: Callable[[str], list[Answer]], latency_s: float | Callable[[str], float] = 0.1
    ) -> None:
        self._script = script
        self._latency_s = latency_s
        self.calls: dict[str, int] = {}
        self.times: list[float] = []
        self.in_flight = 0
        self.most_in_flight = 0

    async def answer(self, prompt: str) -> Answer:
        """The outcome of one call."""
        number = self.calls.get(prompt, 0)
        self.calls[prompt] = number + 1
        self.times.append(asyncio.get_running_loop().time())
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            await asyncio.sleep(self._latency_s(prompt) if callable(self._latency_s) else self._latency_s)
        finally:
            self.in_flight -= 1
        outcomes = self._script(prompt)
        return outcomes[min(number, len(outcomes) - 1)]

    def signals(self) -> RateSignals | None:
        """Nothing."""
        return None


class Wire:
    """Transport, dialect and authorizer at once, straight to a service in memory."""

    name = "memory"
    rules = QIANFAN_V1_RULES
    access = QIANFAN_V1_ACCESS
    takes_messages = False
    found = "in the test"

    def __init__(self, service: Service) -> None:
        self.service = service
        self.renewals = 0
        self._answers: dict[bytes, Answer] = {}
        self._numbers = itertools.count()

    def refuse_endpoint(self, endpoint: str) -> str | None:
        """Any name will do."""
        return None

    def key_variables(self, base_url: str) -> tuple[str, ...]:
        """No key is asked for."""
        return ()

    def encode(
        self, endpoint: str, prompt: str, parameters: Mapping[str, Any], *, messages: bool = False
    ) -> Call:
        """The prompt is the body."""
        return Call(endpoint, {}, prompt.encode(), stream=False)

    def decode(self, status: int, header: Header, body: bytes, *, now: float) -> Answer:
        """What the service made of the call."""
        return self._answers.pop(body)

    def stream_decoder(self, status: int, header: Header, *, now: float) -> StreamDecoder:
        """Nothing is streamed."""
        raise NotImplementedError

    def rate_signals(self, header: Header) -> RateSignals | None:
        """What the service says of its limits."""
        return self.service.signals()

    async def authorize(self, call: Call, *, timeout_s: float) -> HttpCall:
        """The call as it is."""
        return HttpCall(call.path, call.headers, call.body, timeout_s)

    async def renew(self, refused: HttpCall) -> bool:
        """Always possible."""
        self.renewals += 1
        return True

    async def ask(self, call: HttpCall) -> HttpAnswer:
        """One call; failures of the connection are raised as a transport does."""
        answer = await self.service.answer(call.body.decode())
        if isinstance(answer, Failure) and answer.kind is ErrorKind.CONNECTION:
            raise TransportError(answer)
        key = b"%d" % next(self._numbers)
        self._answers[key] = answer
        return HttpAnswer(200, lambda _: None, key)

    def stream(self, call: HttpCall) -> AbstractAsyncContextManager[Response]:
        """Nothing is streamed."""
        raise NotImplementedError

    async def close(self) -> None:
        """Nothing is held."""
