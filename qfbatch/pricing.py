"""What an answer costs. Prices come from the job file: the service publishes none for its own deployments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from qfbatch.records import Usage

SECONDS_PER_HOUR = 3600.0


@dataclass(frozen=True, slots=True)
class Price:
    """A model's price.

    Attributes:
        prompt_per_1k: per 1,000 prompt tokens, in `currency`; None where tokens are not billed.
        completion_per_1k: per 1,000 completion tokens, in `currency`; None where tokens are not billed.
        unit_hour: per compute unit and hour, in `currency`; None where time is not billed.
        units: compute units in use.
        currency: ISO 4217 code.
    """

    prompt_per_1k: float | None = None
    completion_per_1k: float | None = None
    unit_hour: float | None = None
    units: int = 1
    currency: str = "CNY"

    def of_tokens(self, prompt_tokens: int, completion_tokens: int) -> float | None:
        """Cost of these tokens in `currency`; None where tokens have no price."""
        if self.prompt_per_1k is None and self.completion_per_1k is None:
            return None
        prompt = prompt_tokens * (self.prompt_per_1k or 0.0)
        completion = completion_tokens * (self.completion_per_1k or 0.0)
        return (prompt + completion) / 1000.0

    def of_usage(self, usage: Usage | None) -> float | None:
        """Cost of one answer in `currency`; None where tokens have no price or the usage is unknown."""
        if usage is None:
            return None
        return self.of_tokens(usage.prompt_tokens, usage.completion_tokens)

    def of_time(self, wall_s: float) -> float | None:
        """Cost of keeping the units for `wall_s` seconds in `currency`; None where time has no price."""
        if self.unit_hour is None:
            return None
        return self.unit_hour * self.units * wall_s / SECONDS_PER_HOUR


def mixed(parts: Sequence[tuple[Price | None, float]]) -> Price | None:
    """The price of tokens to expect where calls go to places with prices of their own.

    Args:
        parts: the price at each place, None for nothing, and its part of the calls; one currency in all.

    Returns:
        The price itself where it is the same everywhere; None where no place has one.
    """
    first = parts[0][0]
    if all(price == first for price, _ in parts):
        return first
    whole = sum(part for _, part in parts)
    known = [(price, part / whole) for price, part in parts if price is not None]
    return Price(
        prompt_per_1k=sum(part * (price.of_tokens(1000, 0) or 0.0) for price, part in known),
        completion_per_1k=sum(part * (price.of_tokens(0, 1000) or 0.0) for price, part in known),
        currency=known[0][0].currency,
    )
