"""async-batch-llm over a JSON lines file; arguments: ROWS BASE_URL OUT [fsync]."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from async_batch_llm import (  # type: ignore[import-not-found]  # installed in an environment of its own
    JsonlArtifactStore,
    llm,
    process_prompts,
)

IN_FLIGHT = 64


async def main(rows: str, base_url: str, out: str, *, fsync: bool) -> int:
    """Answer every row through its OpenAI client, recorded in its JSON lines store."""
    lines = await asyncio.to_thread(Path(rows).read_text, encoding="utf-8")
    prompts = [json.loads(line)["prompt"] for line in lines.splitlines()]
    answers = await process_prompts(
        llm("openai-compatible:tiny", base_url=f"{base_url}/v1", api_key="any"),
        prompts,
        concurrency=IN_FLIGHT,
        artifact_store=JsonlArtifactStore(out, fsync=fsync),
    )
    return sum(answer.output == "ok" for answer in answers.results)


if __name__ == "__main__":
    succeeded = asyncio.run(main(*sys.argv[1:4], fsync="fsync" in sys.argv[4:]))
    sys.stdout.write(f"{succeeded}\n")
