"""The local server as a child process: started for a run, ended with it.

Imports none of the optional packages; only the child does.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import IO, Any, Self

import msgspec

from qfbatch.errors import UsageError

MAX_TOKENS = 96  # of an answer, where a request has no limit of its own
SLOTS = 16  # answers at once
_START_TIMEOUT_S = 120.0
_END_TIMEOUT_S = 15.0
_TAIL_BYTES = 2000


class EmbeddedServer:
    """A local server in a child process, as a context manager; blocking, so `asyncio.to_thread` it.

    The child has a session of its own, so Ctrl-C at the terminal does not reach it while the parent drains;
    it ends by itself when the parent dies, however that happens.

    Args:
        engine: `model` or `scripted`.
        options: further options of `qfbatch serve`.
        environment: of the child; this process's own by default. Keys to demand go here, never into options.
        start_timeout_s: how long loading the model may take.

    Attributes:
        base_url: `http://127.0.0.1:PORT`, once started.
        endpoints: names it answers under, once started.
    """

    def __init__(
        self,
        *,
        engine: str = "model",
        options: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        start_timeout_s: float = _START_TIMEOUT_S,
    ) -> None:
        self._options = ["--engine", engine, "--port", "0", "--announce", "--exit-with-parent", *options]
        self._environment = dict(os.environ if environment is None else environment)
        self._start_timeout_s = start_timeout_s
        self._process: subprocess.Popen[bytes] | None = None
        self._log: IO[bytes] | None = None
        self.base_url = ""
        self.endpoints: tuple[str, ...] = ()

    @property
    def pid(self) -> int:
        """The child's process id."""
        if self._process is None:
            raise RuntimeError("the embedded server has not been started")
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the child is running."""
        return self._process is not None and self._process.poll() is None

    @property
    def exit_code(self) -> int | None:
        """How the child ended; None while it runs, negative where a signal killed it."""
        return None if self._process is None else self._process.poll()

    def start(self) -> Self:
        """Start the child and wait until it accepts connections.

        Raises:
            UsageError: it cannot start; the message is the child's own, the hint says the next step.
        """
        log = self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed in close()
        process = self._process = subprocess.Popen(  # noqa: S603 - our own command
            [sys.executable, "-m", "qfbatch", "serve", *self._options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            env=self._environment,
            start_new_session=True,
        )
        watchdog = threading.Timer(self._start_timeout_s, process.kill)
        watchdog.daemon = True
        watchdog.start()
        try:
            said = self._announcement(process)
        except BaseException:
            self.close()
            raise
        finally:
            watchdog.cancel()
        self.base_url = said["base_url"]
        self.endpoints = tuple(said["endpoints"])
        return self

    def _announcement(self, process: subprocess.Popen[bytes]) -> dict[str, Any]:
        """The child's first line.

        Raises:
            UsageError: it says why it cannot serve, or ends without a word.
        """
        assert process.stdout is not None  # noqa: S101 - it is a pipe, see above
        line = process.stdout.readline()
        said: dict[str, Any] = {}
        with contextlib.suppress(msgspec.DecodeError):
            said = msgspec.json.decode(line, type=dict[str, Any])
        if "base_url" in said:
            return said
        if "error" in said:
            raise UsageError(f"the embedded server cannot start: {said['error']}", hint=said.get("hint", ""))
        process.kill()
        code = process.wait()
        raise UsageError(
            f"the embedded server ended before it was ready (exit code {code}){self._tail()}",
            hint="Run `qfbatch serve` to see what it says.",
        )

    def _tail(self) -> str:
        """The end of what the child wrote to stderr, as a suffix of a message."""
        if self._log is None:
            return ""
        size = self._log.seek(0, os.SEEK_END)
        self._log.seek(max(0, size - _TAIL_BYTES))
        lines = self._log.read().decode("utf-8", "replace").strip().splitlines()
        return f": {lines[-1]}" if lines else ""

    def close(self) -> None:
        """End the child and wait for it; may be called again."""
        process = self._process
        if process is not None:
            with contextlib.suppress(OSError):
                if process.stdin is not None:
                    process.stdin.close()  # the child ends when its stdin does
            try:
                process.wait(_END_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            if process.stdout is not None:
                process.stdout.close()
        if self._log is not None:
            self._log.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


__all__ = ["EmbeddedServer"]
