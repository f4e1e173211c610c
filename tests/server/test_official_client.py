"""The official client, unchanged, against the scripted engine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from scripted import ScriptedServer

from server.conftest import KEYS

SCRIPT = Path(__file__).with_name("official.py")
OAUTH = ("QIANFAN_AK", "QIANFAN_SK")
IAM = ("QIANFAN_ACCESS_KEY", "QIANFAN_SECRET_KEY")


def run_official(
    base_url: str,
    endpoint: str,
    names: tuple[str, str],
    keys: tuple[str, str],
    tmp_path: Path,
) -> subprocess.CompletedProcess[str]:
    """Run the script with the credentials under these names."""
    environment = {
        name: value for name, value in os.environ.items() if not name.upper().startswith(("QIANFAN", "HTTP"))
    }
    environment |= {
        "QIANFAN_BASE_URL": base_url,
        "QIANFAN_CONSOLE_API_BASE_URL": base_url,
        "QIANFAN_LLM_API_RETRY_COUNT": "1",
        "HOME": str(tmp_path),
        names[0]: keys[0],
        names[1]: keys[1],
    }
    return subprocess.run(
        [sys.executable, str(SCRIPT), endpoint],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )


@pytest.mark.parametrize("names", [OAUTH, IAM], ids=["oauth", "iam"])
def test_every_way_of_calling(keyed: ScriptedServer, names: tuple[str, str], tmp_path: Path) -> None:
    """Sync, stream, async and batch calls work with tokens and with signed requests, errors included."""
    done = run_official(keyed.base_url, "echo", names, KEYS, tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    out: dict[str, Any] = json.loads(done.stdout)
    assert out["sync"] == {
        "result": "two words",
        "is_end": None,
        "usage": {"prompt_tokens": 2, "completion_tokens": 2, "total_tokens": 4},
        "is_truncated": False,
    }
    assert "".join(event["result"] for event in out["stream"]) == "a few streamed words"
    assert [event["is_end"] for event in out["stream"]][-2:] == [False, True]
    assert out["stream"][-1]["usage"]["total_tokens"] == 8
    whole, events = out["async"]
    assert whole["result"] == "three async words"
    assert "".join(event["result"] for event in events) == "four streamed async words"
    assert [answer["result"] for answer in out["batch"]] == ["first row", "second row", "third row"]
    assert (out["error"], out["stream_error"]) == (336003, 336003)


@pytest.mark.parametrize(
    ("names", "keys", "words"),
    [
        (OAUTH, ("nobody", KEYS[1]), "AK(nobody***) is not correct"),
        (OAUTH, (KEYS[0], "wrong"), "SK(wrong***) is not correct"),
        (IAM, (KEYS[0], "wrong"), "SignatureDoesNotMatch"),
    ],
)
def test_wrong_keys(
    keyed: ScriptedServer, names: tuple[str, str], keys: tuple[str, str], words: str, tmp_path: Path
) -> None:
    """Wrong keys are refused in the words the official client understands."""
    done = run_official(keyed.base_url, "echo", names, keys, tmp_path)
    assert done.returncode != 0
    assert words in done.stderr
