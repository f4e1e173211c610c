"""What happened in a sentence: the same words above the bar, in the log and in `qfbatch status`."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct
from msgspec.structs import replace

from qfbatch.progress.events import (
    AttemptFailed,
    EndpointBack,
    EndpointLeft,
    Event,
    NodeEnded,
    ObserverFailed,
    Paused,
    Refused,
    Stopping,
    Throttled,
    TokenRenewed,
)
from qfbatch.wording import count, things

EVERY_S = 10.0
LONG_PAUSE_S = 5.0


class Told(Struct, frozen=True):
    """An event in words.

    Attributes:
        level: info or warning.
        text: one line.
    """

    level: str
    text: str


class Telling:
    """Says what happened, and of what happens again and again only every so often, with how often.

    Args:
        now: a clock, in seconds.
        every_s: between two sentences about short pauses, or about failed attempts, of the same model.
    """

    def __init__(self, now: Callable[[], float], every_s: float = EVERY_S) -> None:
        self._now = now
        self._every_s = every_s
        self._last: dict[tuple[str, str], float] = {}
        self._held_back: dict[tuple[str, str], int] = {}

    def __call__(self, event: Event) -> Told | None:
        """An event in a sentence; None where it is not to be said, or not now."""
        news = told(event)
        if news is None or not isinstance(event, AttemptFailed | Throttled):
            return news
        if isinstance(event, Throttled) and event.pause_s >= LONG_PAUSE_S:
            return news
        key, now = (type(event).__name__, event.model), self._now()
        if now - self._last.get(key, float("-inf")) < self._every_s:
            self._held_back[key] = self._held_back.get(key, 0) + 1
            return None
        self._last[key] = now
        more = self._held_back.pop(key, 0)
        return (
            replace(news, text=f"{news.text} (and {count(more)} more since the last such line)")
            if more
            else news
        )


def told(event: Event) -> Told | None:  # noqa: C901 - a table
    """An event in a sentence; None for those that are counted, shown otherwise, or no news.

    Refusals by rate while the endpoint is pausing already are no news.
    """
    match event:
        case AttemptFailed():
            text = (
                f"{event.model}: row {event.row_id}: attempt {event.attempt} failed: {event.message}; "
                "will be retried"
            )
        case Throttled() if event.pause_s > 0:
            text = f"{event.model}: throttled ({event.message}); pausing {event.pause_s:.1f} s"
        case Paused():
            text = f"{event.model}: nothing is left of the service's limit; pausing {event.pause_s:.1f} s"
        case Refused():
            code = "" if event.code is None else f"error {event.code}: "
            text = f"{event.model}: row {event.row_id}: the service refuses the job: {code}{event.message}"
        case EndpointLeft():
            text = _left(event)
        case EndpointBack():
            text = f"{event.model}: endpoint {event.endpoint} answers again"
        case TokenRenewed():
            return Told("info", "the access token was renewed")
        case Stopping() if event.in_flight:
            text = f"stopping, {_on_their_way(event.in_flight)}: {event.reason}"
        case NodeEnded():
            shards = things(event.shards, "shard")
            text = f"node {event.node} is lost ({event.message}); others take over its {shards}"
        case ObserverFailed():
            text = f"{event.observer} failed and watches no more: {event.message}"
        case _:
            return None
    return Told("warning", text)


def _on_their_way(calls: int) -> str:
    return f"{things(calls, 'call')} on {'its' if calls == 1 else 'their'} way"


def _left(event: EndpointLeft) -> str:
    code = "" if event.code is None else f"error {event.code}: "
    if event.again_in_s is None:
        what = f"refuses the job and is not asked any more ({code}{event.message})"
    else:
        what = f"is down ({code}{event.message}); tried again in {event.again_in_s:g} s"
    others = f"{things(event.left, 'other endpoint')} {'goes' if event.left == 1 else 'go'} on"
    return f"{event.model}: endpoint {event.endpoint} {what}; {others if event.left else 'no other is well'}"
