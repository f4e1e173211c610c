"""flexllm over a JSON lines file, as its documentation shows it; arguments: ROWS BASE_URL OUT."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from flexllm import LLMClient  # type: ignore[import-not-found]  # installed in an environment of its own

IN_FLIGHT = 64


async def main(rows: str, base_url: str, out: str) -> int:
    """Answer every row; results are flushed to a file once a second, which is all it offers (no fsync)."""
    lines = await asyncio.to_thread(Path(rows).read_text, encoding="utf-8")
    messages = [[{"role": "user", "content": json.loads(line)["prompt"]}] for line in lines.splitlines()]
    client = LLMClient(
        provider="openai",
        base_url=f"{base_url}/v1",
        api_key="any",
        model="tiny",
        concurrency_limit=IN_FLIGHT,
        retry_times=3,
    )
    answers = await client.chat_batch(messages, show_progress=False, output_jsonl=out)
    return sum(answer.content == "ok" for answer in answers)


if __name__ == "__main__":
    sys.stdout.write(f"{asyncio.run(main(*sys.argv[1:4]))}\n")
