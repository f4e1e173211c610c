"""Live counts of a run: what is committed, by status, tokens, cost and error. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from qfbatch.records import Record, Status


class Tally:
    """Sums over committed records, kept up to date as groups are committed.

    Args:
        succeeded, failed, skipped, total_tokens, cost: what earlier sessions committed; cost by currency.
    """

    def __init__(
        self,
        *,
        succeeded: int = 0,
        failed: int = 0,
        skipped: int = 0,
        total_tokens: int = 0,
        cost: Mapping[str, float] | None = None,
    ) -> None:
        self.succeeded = succeeded
        self.failed = failed
        self.skipped = skipped
        self.total_tokens = total_tokens
        self.cost: dict[str, float] = dict(cost or {})
        self.unsafe = 0
        self.errors: Counter[tuple[str, int | None]] = Counter()

    @property
    def rows(self) -> int:
        """Rows with a record."""
        return self.succeeded + self.failed + self.skipped

    def replace_failed(self) -> None:
        """A row that stood as failed was asked again: its new record is about to be added."""
        self.failed -= 1

    def add(self, records: Iterable[Record]) -> None:
        """Take newly committed records."""
        for record in records:
            if record.status is Status.SUCCEEDED:
                self.succeeded += 1
            elif record.status is Status.FAILED:
                self.failed += 1
                self.errors[str(record.error_kind), record.error_code] += 1
            else:
                self.skipped += 1
            self.total_tokens += record.total_tokens or 0
            if record.cost is not None:
                currency = record.currency or ""
                self.cost[currency] = self.cost.get(currency, 0.0) + record.cost
            if record.is_safe is False:
                self.unsafe += 1
