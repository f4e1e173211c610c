#!/usr/bin/env python3
"""Build every other file of this folder from `prompts.jsonl` and `questions.jsonl`.

    python sample_data/build.py

Only those two are edited by hand; `tests/test_sample_data.py` fails where the others have fallen behind.
"""

from __future__ import annotations

import io
from pathlib import Path

import polars as pl
import zstandard

LANGUAGES = ("en", "zh")
PROMPTS = pl.Schema(
    {
        "id": pl.String,
        "language": pl.String,
        "topic": pl.String,
        "difficulty": pl.String,
        "prompt": pl.String,
        "reference": pl.String,
    }
)
QUESTIONS = pl.Schema(
    {
        "id": pl.String,
        "question": pl.String,
        "context": pl.String,
        "language": pl.String,
        "reference": pl.String,
    }
)
ZSTD_LEVEL = 10


def build(source: Path, target: Path) -> list[Path]:
    """Write the derived files of `source` into `target`, and name them."""
    prompts = pl.read_ndjson(source / "prompts.jsonl", schema=PROMPTS)
    questions = pl.read_ndjson(source / "questions.jsonl", schema=QUESTIONS)
    (target / "compressed").mkdir(parents=True, exist_ok=True)

    written = [
        _parquet(prompts, target / "prompts.parquet"),
        _parquet(questions, target / "questions.parquet"),
    ]
    for language in LANGUAGES:
        half = prompts.filter(pl.col("language") == language)
        written += [
            _jsonl(half, target / f"prompts.{language}.jsonl"),
            _jsonl_zst(half, target / "compressed" / f"prompts.{language}.jsonl.zst"),
            _parquet(
                questions.filter(pl.col("language") == language), target / f"questions.{language}.parquet"
            ),
        ]
    one_a_topic = prompts.filter(pl.col("language") == "en").unique(
        "topic", keep="first", maintain_order=True
    )
    written.append(_jsonl(one_a_topic, target / "prompts.en.small.jsonl"))
    return written


def _jsonl(rows: pl.DataFrame, path: Path) -> Path:
    path.write_bytes(_lines(rows))
    return path


def _jsonl_zst(rows: pl.DataFrame, path: Path) -> Path:
    path.write_bytes(zstandard.ZstdCompressor(level=ZSTD_LEVEL, write_checksum=True).compress(_lines(rows)))
    return path


def _parquet(rows: pl.DataFrame, path: Path) -> Path:
    rows.write_parquet(path, compression="zstd")
    return path


def _lines(rows: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    rows.write_ndjson(buffer)
    return buffer.getvalue()


if __name__ == "__main__":
    folder = Path(__file__).resolve().parent
    build(folder, folder)
