"""Which services keep connections open as HTTP/1.1 has it, and which only seem to. Pure: a given now.

A service that closes a connection without having said so loses the call that is already on its way there.
Once may be chance (a restart, an idle connection that grew too old); again and again it is the service's way,
and then connections to it are not used twice for a while.
"""

from __future__ import annotations

from collections.abc import Hashable

STRIKES = 3  # so many reused connections lost, and none answered between: the service's way
WARY_S = 60.0  # how long that is believed; then one more loss is enough


class Trust:
    """What is known of each service's way with connections."""

    def __init__(self) -> None:
        self._leaving: set[Hashable] = set()
        self._strikes: dict[Hashable, int] = {}
        self._wary_until: dict[Hashable, float] = {}

    def keeps(self, service: Hashable, now: float, *, doubtful: bool) -> bool:
        """Whether a connection is worth keeping after its call.

        Args:
            service: whose.
            now: seconds on the caller's clock.
            doubtful: the call was one after which some services close although they announce otherwise.
        """
        if doubtful and service in self._leaving:
            return False
        return not self._wary_until or now >= self._wary_until.get(service, now)

    def left(self, service: Hashable) -> None:
        """The service closed a connection right after a doubtful call: it always will."""
        self._leaving.add(service)

    def lost(self, service: Hashable, now: float) -> None:
        """A connection in its second or later use was closed before any answer."""
        strikes = self._strikes[service] = self._strikes.get(service, 0) + 1
        if strikes >= STRIKES:
            self._wary_until[service] = now + WARY_S

    def answered(self, service: Hashable) -> None:
        """A connection in its second or later use brought an answer."""
        if self._strikes:
            self._strikes.pop(service, None)
