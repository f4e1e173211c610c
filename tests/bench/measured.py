"""Runs a command and writes what it took as JSON: `python -S measured.py FILE COMMAND...`.

A process of its own, and a small one: the peak memory that the system reports for a child is never less than
that of the process it was forked from.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time


def main(path: str, command: list[str]) -> None:
    """Run, wait, write."""
    began = time.monotonic()
    pid = os.fork()
    if pid == 0:
        os.execvp(command[0], command)
    _, status = os.waitpid(pid, 0)
    ended = time.monotonic()
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    took = {
        "began": began,
        "wall_s": ended - began,
        "user_s": used.ru_utime,
        "system_s": used.ru_stime,
        "peak_bytes": used.ru_maxrss * (1 if sys.platform == "darwin" else 1024),
        "code": os.waitstatus_to_exitcode(status),
    }
    with open(path, "w", encoding="utf-8") as file:  # noqa: PTH123 - pathlib costs memory here
        json.dump(took, file)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
