"""Live counts of one model in a run: what is committed, by status, tokens and cost. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import groupby
from operator import attrgetter

from msgspec import Struct, field

from qfbatch.records import Dropped, Record, Status


class Standing(Struct, frozen=True):
    """How far a model is, or a run: what is committed, by all its sessions.

    Attributes:
        succeeded, failed, skipped: rows that have a record, by their latest one.
        left: rows this session has still to end: without a record or, with `--retry-failed`, failed; none of
            those beyond `--limit`.
        prompt_tokens, completion_tokens, total_tokens: of the answers in the results.
        discarded_tokens: known to be paid for answers that had to be dropped.
        cost: of the answers in the results, by currency; empty without a price.
        discarded_cost: of what was dropped, likewise; not part of `cost`.
    """

    succeeded: int = 0
    failed: int = 0
    skipped: int = 0
    left: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0
    discarded_tokens: int = 0
    cost: dict[str, float] = field(default_factory=dict)
    discarded_cost: dict[str, float] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        """Rows with a record."""
        return self.succeeded + self.failed + self.skipped

    @property
    def spent(self) -> dict[str, float]:
        """What was paid by currency, dropped answers included."""
        return added(self.cost, self.discarded_cost)

    def __add__(self, other: Standing) -> Standing:
        return Standing(
            succeeded=self.succeeded + other.succeeded,
            failed=self.failed + other.failed,
            skipped=self.skipped + other.skipped,
            left=self.left + other.left,
            prompt_tokens=self.prompt_tokens + other.prompt_tokens,
            completion_tokens=self.completion_tokens + other.completion_tokens,
            total_tokens=self.total_tokens + other.total_tokens,
            discarded_tokens=self.discarded_tokens + other.discarded_tokens,
            cost=added(self.cost, other.cost),
            discarded_cost=added(self.discarded_cost, other.discarded_cost),
        )


class Asked(Struct):
    """What one session has had of one model so far; what a forecast is made from.

    Attributes:
        rows: rows that ended.
        answered: of these, succeeded.
        calls: made for them.
        busy_s: seconds these calls took, the last call of a row standing for all of its calls.
        estimated_tokens: of their prompts, estimated before they were asked; counted when a row ends, which
            is a moment before it is committed.
        prompt_tokens, completion_tokens, discarded_tokens: reported.
    """

    rows: int = 0
    answered: int = 0
    calls: int = 0
    busy_s: float = 0.0
    estimated_tokens: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    discarded_tokens: int = 0


class Tally:
    """One model's sums over committed records, kept up to date as groups are committed.

    Args:
        before: what earlier sessions committed, and what is left to this one.

    Attributes:
        asked: this session alone.
    """

    def __init__(self, before: Standing | None = None) -> None:
        before = before or Standing()
        self.succeeded = before.succeeded
        self.failed = before.failed
        self.skipped = before.skipped
        self.left = before.left
        self._prompt_tokens = before.prompt_tokens
        self._completion_tokens = before.completion_tokens
        self._total_tokens = before.total_tokens
        self._discarded_tokens = before.discarded_tokens
        self._cost = dict(before.cost)
        self._discarded_cost = dict(before.discarded_cost)
        self.asked = Asked()

    @property
    def rows(self) -> int:
        """Rows with a record."""
        return self.succeeded + self.failed + self.skipped

    def replace_failed(self, dropped: Dropped | None = None) -> None:
        """A row that stood as failed was asked again: its new record is about to be added.

        Args:
            dropped: what the old one had to drop. It is counted already, and the new one carries it on.
        """
        self.failed -= 1
        if dropped is not None:
            self._discarded_tokens -= dropped.tokens
            self.asked.discarded_tokens -= dropped.tokens
            if dropped.cost is not None:
                _add(self._discarded_cost, dropped.currency, -dropped.cost)

    def add(self, records: Iterable[Record]) -> None:
        """Take newly committed records, all of this model.

        On the event loop for every row of a run: counted in local names, which takes a third of the time of
        attributes.
        """
        asked = self.asked
        rows = succeeded = failed = calls = prompt = completion = total = discarded = 0
        busy_s = asked.busy_s
        has_succeeded, has_failed = Status.SUCCEEDED, Status.FAILED
        for record in records:
            rows += 1
            calls += record.attempts
            if record.latency_s is not None:
                busy_s += record.latency_s * record.attempts
            if record.status is has_succeeded:
                succeeded += 1
            elif record.status is has_failed:
                failed += 1
            if record.total_tokens is not None:
                prompt += record.prompt_tokens or 0
                completion += record.completion_tokens or 0
                total += record.total_tokens
            discarded += record.discarded_tokens
            if record.cost is not None:
                _add(self._cost, record.currency, record.cost)
            if record.discarded_cost is not None:
                _add(self._discarded_cost, record.currency, record.discarded_cost)
        self.left -= rows
        self.succeeded += succeeded
        self.failed += failed
        self.skipped += rows - succeeded - failed
        self._prompt_tokens += prompt
        self._completion_tokens += completion
        self._total_tokens += total
        self._discarded_tokens += discarded
        asked.rows += rows
        asked.answered += succeeded
        asked.calls += calls
        asked.busy_s = busy_s
        asked.prompt_tokens += prompt
        asked.completion_tokens += completion
        asked.discarded_tokens += discarded

    def standing(self) -> Standing:
        """The sums at this moment."""
        return Standing(
            succeeded=self.succeeded,
            failed=self.failed,
            skipped=self.skipped,
            left=max(0, self.left),
            prompt_tokens=self._prompt_tokens,
            completion_tokens=self._completion_tokens,
            total_tokens=self._total_tokens,
            discarded_tokens=self._discarded_tokens,
            cost=dict(self._cost),
            discarded_cost=dict(self._discarded_cost),
        )


def add_all(tallies: Mapping[str, Tally], records: Iterable[Record]) -> None:
    """Have newly committed records in the tallies of their models."""
    for model, alike in groupby(records, attrgetter("model")):
        tallies[model].add(alike)


def total(standings: Iterable[Standing]) -> Standing:
    """Several models' standings as one; money of different currencies stays apart."""
    return sum(standings, Standing())


def added(one: Mapping[str, float], other: Mapping[str, float]) -> dict[str, float]:
    """Amounts added currency by currency."""
    both = dict(one)
    for currency, amount in other.items():
        both[currency] = both.get(currency, 0.0) + amount
    return both


def _add(amounts: dict[str, float], currency: str | None, amount: float) -> None:
    name = currency or ""
    amounts[name] = amounts.get(name, 0.0) + amount
