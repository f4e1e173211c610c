"""Dialects that other packages bring: a real installed distribution, found when a job names it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from qfbatch.service.dialects import dialect_named, is_dialect
from qfbatch.service.installed import MEMBERS, UnusableDialect, installed_dialect

from .kits import documented


def install(site: Path, module: str, source: str, *, points: str, package: str = "acme") -> None:
    """Put a distribution into a folder as an installer does: its module and its metadata."""
    site.mkdir(exist_ok=True)
    (site / f"{module}.py").write_text(source, encoding="utf-8")
    info = site / f"{package}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[qfbatch.dialects]\n{points}\n")
    (info / "RECORD").write_text("")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that packages can be installed into."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    installed_dialect.cache_clear()
    yield folder
    installed_dialect.cache_clear()
    for name in [name for name in sys.modules if name.startswith("brought_")]:
        del sys.modules[name]


class _AcmeServer(BaseHTTPRequestHandler):
    """The service of the worked example."""

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        answer: dict[str, object]
        key = self.headers["Authorization"]
        if self.path != "/api/generate/acme-large" or key != "Bearer S3CR3T":
            status, answer = 404, {"failure": {"reason": "lost", "words": f"{self.path} {key}"}}
        elif asked["input"] == "long":
            status, answer = 400, {"failure": {"reason": "too_long", "words": "cut it"}}
        else:
            text = f"{asked['input']}!{asked['max_tokens']}"
            status, answer = 200, {"text": text, "tokens": {"in": 1, "out": 2}, "id": "a"}
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing is logged."""


@pytest.fixture
def acme() -> Iterator[str]:
    """The address of a running Acme service."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _AcmeServer) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/api"
        server.shutdown()
        thread.join()


def qfbatch(*arguments: str, folder: Path, site: Path) -> subprocess.CompletedProcess[str]:
    """One command, in a process that finds what is installed in `site`."""
    environ = {**os.environ, "PYTHONPATH": str(site), "ACME_KEY": "S3CR3T"}
    return subprocess.run(
        [sys.executable, "-m", "qfbatch", *arguments],
        cwd=folder,
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_worked_example_runs(tmp_path: Path, site: Path, acme: str) -> None:
    """A job speaks the documented dialect, whole: its address, key, parameters, answers and refusals."""
    install(site, "acme_qfbatch", documented()[0], points="acme = acme_qfbatch:Acme")
    rows = [{"id": prompt, "prompt": prompt} for prompt in ("hi", "long")]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    job = f"""
name: acme
input: {{path: rows.jsonl, id: id, prompt: prompt}}
service: {{api: acme, base_url: "{acme}"}}
models: [{{name: large, endpoint: acme-large}}]
parameters: {{max_tokens: 7}}
"""
    (tmp_path / "job.yaml").write_text(job)
    done = qfbatch("run", "job.yaml", "--quiet", folder=tmp_path, site=site)
    assert done.returncode == 1, done.stderr
    assert "S3CR3T" not in done.stdout + done.stderr
    exported = qfbatch("export", "runs/acme", "out.jsonl", folder=tmp_path, site=site)
    assert exported.returncode == 0, exported.stderr
    lines = (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()
    results = {row["row_id"]: row for row in map(json.loads, lines)}
    assert (results["hi"]["result"], results["hi"]["total_tokens"]) == ("hi!7", 3)
    long = results["long"]
    assert (long["error_kind"], long["error_code"], long["error_message"]) == (
        "too_long",
        400,
        "too_long: cut it",
    )
    (tmp_path / "job.yaml").write_text(job.replace("7", "0").replace("acme-large", "a/b"))
    refused = qfbatch("check", "job.yaml", "--offline", folder=tmp_path, site=site)
    assert refused.returncode == 2
    assert "parameters.max_tokens: must be a whole number of at least 1, not 0" in refused.stderr
    assert "models[0].endpoint: give the model's name alone, without a slash" in refused.stderr


CANNOT = '"brought" of acme 1.0 cannot be loaded'
BROKEN = "raise RuntimeError('half installed')"
NO_DIALECT = "class Acme:\n    name = 'brought'\n"
OTHER_NAME = documented()[0]


@pytest.mark.parametrize(
    ("source", "target", "message"),
    [
        (BROKEN, "Acme", f"{CANNOT}: RuntimeError: half installed"),
        ("raise SystemExit(3)", "Acme", f"{CANNOT}: SystemExit: 3"),
        (
            "",
            "Acme",
            f"{CANNOT}: AttributeError: module 'brought_it' has no attribute 'Acme'",
        ),
        (
            NO_DIALECT,
            "Acme",
            f'"brought" of acme 1.0 is no dialect: it has no {", ".join(MEMBERS[1:])}',
        ),
        (
            OTHER_NAME,
            "Acme",
            '"brought" of acme 1.0 calls itself "acme"; the two names must be the same',
        ),
    ],
    ids=["import fails", "import exits", "nothing there", "no dialect", "another name"],
)
def test_a_broken_package_is_named(site: Path, source: str, target: str, message: str) -> None:
    """What is wrong with an installed dialect is one message that names its package."""
    install(site, "brought_it", source, points=f"brought = brought_it:{target}")
    with pytest.raises(UnusableDialect) as refused:
        dialect_named("brought")
    assert str(refused.value) == message
    assert not is_dialect("brought")


def test_two_packages_of_one_name(site: Path) -> None:
    """Which of two packages is meant cannot be guessed."""
    install(site, "brought_a", NO_DIALECT, points="brought = brought_a:Acme", package="one")
    install(site, "brought_b", NO_DIALECT, points="brought = brought_b:Acme", package="two")
    with pytest.raises(UnusableDialect, match=r'"brought" is registered by one 1.0 and two 1.0; keep one'):
        dialect_named("brought")


def test_a_job_says_what_is_wrong(tmp_path: Path, site: Path) -> None:
    """A job with a broken dialect ends as any wrong job file: exit code 2 and a line that says it."""
    install(site, "brought_it", BROKEN, points="brought = brought_it:Acme")
    (tmp_path / "job.yaml").write_text(
        "name: x\ninput: {path: r, prompt: p}\nservice: {api: brought}\nmodels: []\n"
    )
    refused = qfbatch("check", "job.yaml", "--offline", folder=tmp_path, site=site)
    assert refused.returncode == 2
    assert f"line 3: service.api: {CANNOT}: RuntimeError: half installed" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_nothing_is_loaded_unasked(site: Path) -> None:
    """A package is imported only when a job names its dialect, and never in place of a built-in one."""
    install(site, "brought_it", BROKEN, points="qianfan = brought_it:Acme\nother = brought_it:Acme")
    assert dialect_named("qianfan").name == "qianfan"
    assert not is_dialect("unheard")
    assert not is_dialect(5)
    assert "brought_it" not in sys.modules
