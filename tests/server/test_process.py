"""The server as a process: starting, announcing, ending, and its parent's death."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from scripted import fetch

from qfbatch.errors import UsageError
from qfbatch.server.embedded import EmbeddedServer

PARENT = """
import sys, time
from qfbatch.server.embedded import EmbeddedServer
server = EmbeddedServer(engine="scripted").start()
print(server.pid, server.base_url, flush=True)
time.sleep(60)
"""


def gone(pid: int) -> bool:
    """Whether a process has ended; only a hang takes so long."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return True
        if state == "Z":
            return True
        time.sleep(0.05)
    return False


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_child_ends_with_its_parent(number: signal.Signals) -> None:
    """The child ends when its parent dies, also by SIGKILL, when nobody could tell it."""
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    with parent, parent.stdout:
        pid, base_url = parent.stdout.readline().split()
        assert fetch(f"{base_url}/")[0] == 200
        parent.send_signal(number)
        parent.wait()
        assert gone(int(pid))


def test_embedded_server_in_its_own_session() -> None:
    """Ctrl-C at the terminal does not reach the child; leaving the block ends it in order."""
    with EmbeddedServer(engine="scripted") as server:
        pid = server.pid
        assert os.getsid(pid) == pid
        assert server.endpoints == ("echo", "words")
        assert fetch(f"{server.base_url}/")[0] == 200
    assert server.exit_code == 0
    assert gone(pid)
    server.close()  # again does no harm


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_end_it_quietly(number: signal.Signals) -> None:
    """SIGINT and SIGTERM end the server with exit 0 and no traceback; stdout held only the announcement."""
    command = [sys.executable, "-m", "qfbatch", "serve", "--engine", "scripted", "--port", "0", "--announce"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    said = json.loads(process.stdout.readline())
    assert set(said) == {"base_url", "endpoints"}
    assert said["base_url"].startswith("http://127.0.0.1:")
    process.send_signal(number)
    out, err = process.communicate(timeout=100)
    assert (process.returncode, out) == (0, "")
    assert "Traceback" not in err
    assert said["base_url"] in err


def test_missing_model_names_the_next_step(tmp_path: Path) -> None:
    """Without the weights the child says what to run, and the parent raises just that."""
    environment = {**os.environ, "QFBATCH_CACHE_DIR": str(tmp_path)}
    with pytest.raises(UsageError) as caught:
        EmbeddedServer(environment=environment).start()
    assert "has not been fetched" in caught.value.message
    assert "qfbatch serve --fetch-model" in caught.value.hint


@pytest.mark.parametrize("missing", ["xllamacpp", "starlette", "uvicorn"])
def test_missing_packages_name_the_next_step(tmp_path: Path, missing: str) -> None:
    """Without the optional packages the message names the extra to install."""
    (tmp_path / missing).mkdir()
    (tmp_path / missing / "__init__.py").write_text(f"raise ImportError('none', name={missing!r})")
    model = tmp_path / "own.gguf"
    model.write_bytes(b"GGUF")
    with pytest.raises(UsageError) as caught:
        EmbeddedServer(
            engine="model" if missing == "xllamacpp" else "scripted",
            options=["--model", str(model)] if missing == "xllamacpp" else [],
            environment={**os.environ, "PYTHONPATH": str(tmp_path)},
        ).start()
    assert missing in caught.value.message
    assert "pip install 'qfbatch[" in caught.value.hint


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--ledger", "/nonexistent/dir/file"], "cannot write the ledger"),
        (["--host", "203.0.113.1"], "cannot listen on"),
        (["--no-such-option"], "ended before it was ready"),
    ],
)
def test_start_failures(options: list[str], words: str) -> None:
    """What keeps the server from starting is one message, not a traceback."""
    with pytest.raises(UsageError, match=words) as caught:
        EmbeddedServer(engine="scripted", options=options).start()
    assert "Traceback" not in str(caught.value)
    assert caught.value.hint


def test_only_loopback_is_bound() -> None:
    """Without --host nobody outside this machine can connect."""
    with EmbeddedServer(engine="scripted") as server:
        port = int(server.base_url.rpartition(":")[2])
        listening = [
            line.split()[1]
            for table in ("tcp", "tcp6")
            for line in Path(f"/proc/{server.pid}/net/{table}").read_text().splitlines()[1:]
            if line.split()[3] == "0A" and line.split()[1].endswith(f":{port:04X}")
        ]
    assert listening == [f"0100007F:{port:04X}"]


def test_embedded_imports_no_optional_package() -> None:
    """The parent of the embedded server needs none of the optional packages."""
    code = "import sys, qfbatch.server.embedded, qfbatch.server.weights; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert {"starlette", "uvicorn", "xllamacpp"}.isdisjoint(done.stdout.split())
