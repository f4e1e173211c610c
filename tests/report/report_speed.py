"""How long `summarise` takes, measured by hand: `python tests/report/report_speed.py 1000000`.

Makes a results frame of that many rows (two models, carried column `topic`), then prints the seconds that a
summary takes from memory, from Parquet, and with `--by topic`, each the best of three.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import polars as pl

from qfbatch import schema
from qfbatch.records import InputColumn
from qfbatch.reporting.summary import summarise

EPOCH_US = 1_780_000_000_000_000
TOPIC = InputColumn("topic", "string")


def results(rows: int) -> pl.DataFrame:
    """A frame of the results schema: 6 % failed, 1 % skipped, prompts and answers of some 300 bytes."""
    number = pl.int_range(rows, dtype=pl.Int64)
    draw = number.hash(seed=1) % 10_000  # the same draws on every machine
    second = number.hash(seed=2) % 10_000
    ok = draw >= 700
    failed = (draw < 600) & ~ok

    def only(condition: pl.Expr, value: pl.Expr) -> pl.Expr:
        return pl.when(condition).then(value)

    prompt, completion = 10 + (draw % 290).cast(pl.Int64), 1 + (second % 400).cast(pl.Int64)
    known: dict[str, pl.Expr] = {
        "row_id": pl.format("row-{}", number // 2),
        "model": pl.when(number % 2 == 0).then(pl.lit("yi-34b")).otherwise(pl.lit("pythia-6.9b")),
        "endpoint": pl.lit("endpoint"),
        "shard": number // 2000,
        "source_file": pl.lit("prompts.jsonl"),
        "source_row": number // 2 + 1,
        "prompt": pl.format("{}{}", pl.lit("What is the capital of this country? " * 8), number),
        "status": pl.when(ok)
        .then(pl.lit("succeeded"))
        .when(failed)
        .then(pl.lit("failed"))
        .otherwise(pl.lit("skipped")),
        "result": only(ok, pl.format("{}{}", pl.lit("An answer of some length. " * 12), number)),
        "is_safe": only(ok, second > 50),
        "need_clear_history": only(ok, second < 20),
        "is_truncated": only(ok, second < 300),
        "finish_reason": only(ok, pl.lit("stop")),
        "prompt_tokens": only(ok, prompt),
        "completion_tokens": only(ok, completion),
        "total_tokens": only(ok, prompt + completion),
        "usage_source": only(
            ok, pl.when(second < 500).then(pl.lit("estimated")).otherwise(pl.lit("reported"))
        ),
        "discarded_tokens": pl.when(second % 4 == 0).then(50).otherwise(0),
        "cost": only(ok, (prompt + completion) * 0.004 / 1000),
        "currency": only(ok, pl.lit("CNY")),
        "error_kind": only(
            failed, pl.when(second % 2 == 0).then(pl.lit("timeout")).otherwise(pl.lit("server"))
        ),
        "error_code": only(failed & (second % 2 == 1), 500 + second % 5),
        "error_message": only(failed, pl.format("the service's words for row {}", number)),
        "attempts": 1 + second % 3,
        "latency_s": (1 + draw) / 1000,
        "time_to_first_token_s": only(ok, (1 + second) / 9000),
        "wait_s": (second % 100) / 300,
        "started_at": EPOCH_US + number * 3600,
        "finished_at": EPOCH_US + number * 3600 + draw * 1000,
        "response_id": only(ok, pl.format("as-{}", number)),
        "created": EPOCH_US // 1_000_000 + number // 300,
        "parameters": pl.lit('{"temperature":0.8}'),
        "input_topic": pl.format("topic {}", draw % 8),
    }
    shape = pl.from_arrow(schema.to_table([], [TOPIC]))
    assert isinstance(shape, pl.DataFrame)
    columns = [known.get(name, pl.lit(None)).cast(kind).alias(name) for name, kind in shape.schema.items()]
    return pl.select(columns)


def best_of_three(frame: pl.LazyFrame, by: tuple[str, ...]) -> float:
    """The shortest of three summaries, seconds."""
    took = []
    for _ in range(3):
        began = time.perf_counter()
        summarise(frame, by=by)
        took.append(time.perf_counter() - began)
    return min(took)


def main(rows: int) -> None:
    """Measure and print."""
    frame = results(rows)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "part.parquet")
        frame.write_parquet(path, row_group_size=100_000)
        for place, lazy in (("memory", frame.lazy()), ("Parquet", pl.scan_parquet(path))):
            for by in ((), ("topic",)):
                sys.stdout.write(
                    f"{rows:,} rows from {place}, by {list(by)}: {best_of_three(lazy, by):.2f} s\n"
                )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000)
