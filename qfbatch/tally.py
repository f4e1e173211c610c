"""Live counts of a run: what is committed, by status, tokens, cost and error. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from qfbatch.records import Record, Status


class Tally:
    """Sums over committed records, kept up to date as groups are committed."""

    def __init__(self) -> None:
        self.succeeded = 0
        self.failed = 0
        self.skipped = 0
        self.prompt_tokens = 0
        self.completion_tokens = 0
        self.total_tokens = 0
        self.cost: Counter[str] = Counter()
        self.unsafe = 0
        self.errors: Counter[tuple[str, int | None]] = Counter()

    @property
    def rows(self) -> int:
        """Rows with a record."""
        return self.succeeded + self.failed + self.skipped

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
            if record.total_tokens is not None:
                self.prompt_tokens += record.prompt_tokens or 0
                self.completion_tokens += record.completion_tokens or 0
                self.total_tokens += record.total_tokens
            if record.cost is not None:
                self.cost[record.currency or ""] += record.cost  # type: ignore[assignment] # Counter of floats
            if record.is_safe is False:
                self.unsafe += 1
