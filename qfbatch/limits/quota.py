"""What the user declares about limits: how many at once, and how many per time."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Quota:
    """Limits of a run or of one model. Everything is optional but concurrency.

    Attributes:
        concurrency: calls in flight at once.
        qps: calls a second.
        rpm: calls a minute.
        tpm: tokens a minute, prompt and completion.
        adaptive: lower the concurrency while the service throttles, raise it again up to `concurrency`.
    """

    concurrency: int = 16
    qps: float | None = None
    rpm: float | None = None
    tpm: float | None = None
    adaptive: bool = True


def stricter(one: Quota, other: Quota) -> Quota:
    """What keeps both: of each limit the lower one."""

    def lower(first: float | None, second: float | None) -> float | None:
        """The lower of two limits; one that is None limits nothing."""
        known = [limit for limit in (first, second) if limit is not None]
        return min(known, default=None)

    return Quota(
        concurrency=min(one.concurrency, other.concurrency),
        qps=lower(one.qps, other.qps),
        rpm=lower(one.rpm, other.rpm),
        tpm=lower(one.tpm, other.tpm),
        adaptive=one.adaptive and other.adaptive,
    )
