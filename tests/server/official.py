"""Calls a server through the official client: a script, as that client keeps global state.

Arguments: endpoint. Environment: as the official client documents it. stdout: one JSON object.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import qianfan


def shown(response: Any) -> dict[str, Any]:
    """What the test compares."""
    return {name: response.body.get(name) for name in ("result", "is_end", "usage", "is_truncated")}


async def call_async(client: Any) -> list[Any]:
    """One call and one stream, on an event loop."""
    whole = await client.ado("three async words", temperature=0.5)
    stream = await client.ado("four streamed async words", stream=True)
    return [shown(whole), [shown(event) async for event in stream]]


def main() -> None:
    """Every way of calling, and a failure of each kind."""
    endpoint = sys.argv[1]
    client: Any = qianfan.Completion(endpoint=endpoint)
    out: dict[str, Any] = {"sync": shown(client.do("two words", temperature=0.9, stop=["zzz"]))}
    out["stream"] = [shown(event) for event in client.do("a few streamed words", stream=True)]
    out["async"] = asyncio.run(call_async(client))
    batch = client.batch_do(["first row", "second row", "third row"], worker_num=2)
    out["batch"] = [shown(answer) for answer in batch.results()]
    for name, stream in (("error", False), ("stream_error", True)):
        try:
            list(client.do("no", stream=stream, retry_count=1, temperature=2.0))
        except qianfan.errors.APIError as error:
            out[name] = error.error_code
    json.dump(out, sys.stdout)


if __name__ == "__main__":
    main()
