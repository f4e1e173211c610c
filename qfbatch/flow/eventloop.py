"""The event loop that runs and checks use: uvloop where it exists, for twice asyncio's rate."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable

if sys.platform != "win32":
    import uvloop

    new_event_loop: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
else:
    new_event_loop = asyncio.new_event_loop
