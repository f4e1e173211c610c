"""One amount of a quota, shared by many holders: dealt fairly, and taken in turns where only few may hold it.

Pure. Both are asked at every report of every holder, a thousand times a second where there are hundreds, so
neither looks at all holders then. Sums are kept up to date, so that what is dealt never exceeds the amount.
The fair share of all is worked out anew only after a while that grows with their number: it may be a moment
old, and costs each report the same however many they are.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import islice

from msgspec import Struct

LOOK_S_A_HOLDER = 50e-6  # 20 times a second for a thousand; at every report for a few
MUCH_LESS = 0.9


def fair_level(amount: float, wanted: Iterable[float]) -> float:
    """What nobody gets more than, for everybody to have the smaller of that and of what is wanted.

    Max-min fairness (Bertsekas and Gallager, Data Networks, 6.5.2): it is infinite where there is enough for
    all; else the shares come to the amount.

    Args:
        amount: to be dealt, not below 0.
        wanted: by each; may be infinite.
    """
    waiting = sorted(wanted)
    left, count = amount, len(waiting)
    for served, share in enumerate(waiting):
        fair = left / (count - served)
        if share > fair:
            return fair
        left -= share
    return math.inf


class _Share(Struct):
    """What one holder has of a pool.

    Attributes:
        wanted: may be infinite; None where it takes no part, and has only what it has not given back yet.
        share: dealt last.
        before: dealt before that; in force until the holder has heard of the last.
        in_use: cannot be given back yet.
    """

    wanted: float | None = None
    share: float = 0.0
    before: float = 0.0
    in_use: int = 0

    @property
    def out(self) -> float:
        """What others cannot have."""
        return max(self.share, self.before, self.in_use)


class Pool:
    """An amount of which holders have shares; a share is theirs until they know of another, or it lapses.

    A holder goes by the share it had until the answer to its report has reached it; its next report shows
    that it has. Only then can others have what it was to give back.

    Args:
        whole: whether only whole units can be had. What rounding leaves over goes to whoever asks first.
    """

    def __init__(self, *, whole: bool = False) -> None:
        self._whole = whole
        self._shares: dict[str, _Share] = {}
        self._out = 0.0
        self._level = math.inf
        self._level_of = 0.0
        self._due = -math.inf

    @property
    def out(self) -> float:
        """What is not to be had: shares that may be in force, or what is in use where that is more."""
        return self._out

    def deal(
        self, name: str, wanted: float, amount: float, now: float, *, in_use: int = 0, unsure: bool = False
    ) -> float:
        """A holder's new share, in place of the one it had.

        It is larger than that only where all shares then add up to no more than the amount.

        Args:
            name: of the holder.
            wanted: by it; may be infinite.
            amount: there is in all.
            now: seconds on the caller's clock.
            in_use: so much it cannot give back yet, whatever its share.
            unsure: whether it may not have heard of its last share.
        """
        held = self._heard(name, in_use, unsure=unsure)
        held.wanted = wanted
        if now >= self._due:
            self._look_at_all(amount, now)
        # Between two looks at all of them, the fair share follows the amount.
        level = self._level * (amount / self._level_of) if self._level_of > 0 else 0.0
        fair = min(level, wanted)
        if self._whole and fair < math.inf:
            fair = float(math.ceil(fair - 1e-9))
        # Of an amount that has shrunk everybody gives back to the fair share, and nobody more.
        others = self._out - held.out
        share = max(0.0, min(fair, max(amount - others, held.share)))
        held.before, held.share = max(held.before, held.share), share
        self._out = others + held.out
        return share

    def end(self, name: str, *, in_use: int = 0, unsure: bool = False) -> None:
        """A holder takes no part from now on; what it had is still out until its next report. See `deal`."""
        held = self._heard(name, in_use, unsure=unsure)
        held.wanted = None
        held.before, held.share = max(held.before, held.share), 0.0
        if not held.out:
            del self._shares[name]

    def expect(self, name: str, wanted: float) -> None:
        """A holder will ask for a share: from now on the others are dealt theirs with that in mind."""
        self._shares.setdefault(name, _Share()).wanted = wanted

    def lapse(self, name: str) -> None:
        """A holder has not been heard of for as long as it may go by any share; what it uses still counts."""
        held = self._shares.get(name)
        if held is not None:
            self._out += held.in_use - held.out
            held.share = held.before = 0.0
            if not held.in_use:
                del self._shares[name]

    def forget(self, name: str) -> None:
        """A holder is gone for good, with all it has."""
        held = self._shares.pop(name, None)
        if held is not None:
            self._out -= held.out

    def awaits(self, name: str) -> bool:
        """Whether others want much of what a holder is to give back, and can have it once it is known to."""
        held = self._shares.get(name)
        return held is not None and self._level < math.inf and held.share < held.before * MUCH_LESS

    def _heard(self, name: str, in_use: int, *, unsure: bool) -> _Share:
        """A holder that reports; it goes by its last share, unless it may not have heard of that."""
        held = self._shares.get(name)
        if held is None:
            held = self._shares[name] = _Share()
        self._out -= held.out
        if not unsure:
            held.before = 0.0
        held.in_use = in_use
        self._out += held.out
        return held

    def _look_at_all(self, amount: float, now: float) -> None:
        wanted = [held.wanted for held in self._shares.values() if held.wanted is not None]
        self._level = fair_level(amount, wanted)
        self._level_of = amount
        self._due = now + len(wanted) * LOOK_S_A_HOLDER
        self._out = math.fsum(held.out for held in self._shares.values())  # what rounding added up to is gone


class Turns:
    """Who may have a share where only few may at a time: they take turns, in the order they began to wait.

    Args:
        silent_s: who has not asked for so long is not waited for.
    """

    def __init__(self, silent_s: float) -> None:
        self._silent_s = silent_s
        self._since: dict[str, float] = {}  # whose turn it is, since when
        self._waiting: dict[str, float] = {}  # who waits for one, in order, and when they last asked

    def __len__(self) -> int:
        return len(self._since)

    def ask(self, name: str, *, most: int, now: float) -> bool:
        """Whether it is this holder's turn, who wants one.

        Args:
            name: of the holder.
            most: may have one at a time.
            now: seconds on the caller's clock.
        """
        if name in self._since:
            if len(self._since) <= most:
                return True
            del self._since[name]
        self._waiting[name] = now
        free = most - len(self._since)
        if free > 0:
            self._drop_silent(now)
            if free >= len(self._waiting) or name in islice(self._waiting, free):
                del self._waiting[name]
                self._since[name] = now
                return True
        return False

    def hand_over(self, name: str, *, most: int, turn_s: float, now: float) -> str | None:
        """Who has the turn of this holder from now on, which waits for another; None if it keeps it.

        Args:
            name: of the holder, who may have no turn at all.
            most: may have one at a time.
            turn_s: it had its turn for at least so long.
            now: seconds on the caller's clock.
        """
        since = self._since.get(name)
        if since is None or now < since + turn_s or len(self._since) < most:
            return None
        self._drop_silent(now)
        if not self._waiting:
            return None
        successor = next(iter(self._waiting))
        del self._waiting[successor], self._since[name]
        self._since[successor] = self._waiting[name] = now
        return successor

    def leave(self, name: str) -> None:
        """A holder wants none, or is gone."""
        self._since.pop(name, None)
        self._waiting.pop(name, None)

    def lapse(self, name: str) -> None:
        """A holder has not been heard of: its turn is over."""
        self._since.pop(name, None)

    def _drop_silent(self, now: float) -> None:
        """Whoever is next and does not come is not waited for."""
        while self._waiting:
            first = next(iter(self._waiting))
            if self._waiting[first] > now - self._silent_s:
                return
            del self._waiting[first]


__all__ = ["Pool", "Turns", "fair_level"]
