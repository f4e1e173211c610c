"""What is lost, frozen or wrong on a real Ray cluster of several machines, all of them on loopback."""

from __future__ import annotations

import os
import re
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import polars as pl
import pytest
from scripted import ScriptedServer
from storage import s3_servers
from storage.conftest import rclone, seaweedfs

from qfbatch.checkpoint.commitlog import Claim, Done, Entry, Part
from qfbatch.checkpoint.interface import LOG_GROUP_ROWS
from qfbatch.checkpoint.place import StoredRun, run_place
from qfbatch.checkpoint.results import scan_results
from qfbatch.storage.access import StorageAccess
from qfbatch.storage.address import parse_path
from qfbatch.storage.opening import open_store

from .runs import START_S, Driver, Machines, children, kill, sockets, stop, tcp_sockets, thaw, write_job

__all__ = ["rclone", "seaweedfs"]

pytest.importorskip("ray", reason="the extra `ray` is not installed")
pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

IN_FLIGHT = 24
LIMITS = {"concurrency": IN_FLIGHT, "qps": 60}
ESTABLISHED = "01"  # the state in /proc/net/tcp
decode_entry: Callable[[bytes], Entry] = msgspec.json.Decoder(Entry).decode


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ScriptedServer]:
    """The service, with a ledger of what was paid."""
    with ScriptedServer(ledger=tmp_path_factory.mktemp("ledger") / "ledger.jsonl") as running:
        yield running


@pytest.fixture(scope="module")
def machines() -> Iterator[Machines]:
    """A cluster of five machines, of which tests may kill one each."""
    with Machines(5) as running:
        yield running


class Watched:
    """A job with what is known of its run from outside.

    Args:
        folder: of its file.
        server: answers it.
        rows, shard_rows: of the input.
        delay_s: how long an answer takes.
        sections: further ones of the job.
    """

    def __init__(
        self,
        folder: Path,
        server: ScriptedServer,
        rows: int,
        shard_rows: int = 100,
        delay_s: float = 0.05,
        **sections: object,
    ) -> None:
        self.rows = rows
        self.endpoint = server.endpoint(f"echo,delay={delay_s}")
        self.run = str(folder / "run")
        self._server = server
        sections = {"limits": LIMITS, **sections}
        self.path = write_job(
            folder, server.base_url, self.endpoint, rows=rows, shard_rows=shard_rows, **sections
        )

    @property
    def place(self) -> StoredRun:
        """The run directory, seen anew."""
        place = run_place(parse_path(self.run), StorageAccess(os.environ), shared=True)
        assert isinstance(place, StoredRun)
        return place

    def committed(self) -> int:
        """Rows committed so far."""
        place = self.place
        if place.store.stat("manifest.json") is None:
            return 0
        return int(scan_results(place).select(pl.len()).collect().item())

    def writers(self, kind: type[Entry]) -> list[tuple[str, str]]:
        """Log and writer of each entry of a kind, in the logs' order."""
        store = self.place.store
        found = [(info.key, decode_entry(store.get(info.key) or b"")) for info in store.list("log/")]
        return [(key.split("/")[1], entry.writer) for key, entry in found if isinstance(entry, kind)]

    def committed_by(self, writer: str) -> int:
        """How often a writer has committed something."""
        return [by for kind in (Part, Done) for _, by in self.writers(kind)].count(writer)

    def paid(self) -> int:
        """Answers paid so far."""
        return sum(answered for _, answered in self._server.calls(self.endpoint).values())

    def check_complete(self, paid_twice: int) -> None:
        """Every row is there once, for the log and for any tool, and few were paid twice."""
        frame = scan_results(self.place).select("row_id").collect()
        assert self.rows == frame.height == frame["row_id"].n_unique()
        store = self.place.store
        sources = [store.scan_source(info.key) for info in store.list("results/")]
        published = pl.concat([pl.read_parquet(at, storage_options=o) for at, o in filter(None, sources)])
        assert self.rows == published.height == published["row_id"].n_unique()
        paid = Counter({p: answered for p, (_, answered) in self._server.calls(self.endpoint).items()})
        assert self.rows == len(paid)
        assert paid.total() - self.rows <= paid_twice


def per_loss(rate: int = LIMITS["qps"]) -> int:
    """Rows paid twice at most when a node is lost: in flight and not committed there."""
    return min(IN_FLIGHT + LOG_GROUP_ROWS, round(IN_FLIGHT + 5 * rate))


def connections(pids: list[int], base_url: str) -> Counter[int]:
    """How many connections to the service each of these processes has."""
    port = f":{int(base_url.rpartition(':')[2]):04X}"
    there = {inode for inode, (_, to) in tcp_sockets(ESTABLISHED).items() if to.endswith(port)}
    return Counter({pid: n for pid in pids if (n := len(sockets(pid) & there))})


def wait_until(due: Callable[[], bool], within_s: float = START_S) -> None:
    """Wait until something is due."""
    deadline = time.monotonic() + within_s
    while not due():
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.05)


def gone(pid: int) -> bool:
    """Whether a process has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


def test_a_frozen_machine_commits_nothing_when_thawed(
    tmp_path: Path, server: ScriptedServer, machines: Machines
) -> None:
    """Its shards are taken over; its node, thawed before the machine, meets the fence and stops."""
    job = Watched(tmp_path, server, rows=2600)
    with Driver(job.path, machines.address, "--ray-nodes", "3") as driver:
        driver.until(lambda: job.committed() >= 300)
        worker = machines.workers("Node")[0]
        raylet = machines.machine_of(worker)
        frozen = [raylet, *children(raylet)]
        for pid in frozen:
            stop(pid)
        driver.until(lambda: "is lost (it does not answer)" in driver.said)
        found = re.search(r"node (\S+) is lost", driver.said)
        assert found
        zombie = found[1]
        before = job.committed_by(zombie)
        driver.until(lambda: job.committed() >= 1700)
        # The machine's raylet stays frozen for now: nobody can kill the node, which lives on as a zombie.
        thaw(worker)
        assert 0 == driver.end(), driver.said
        assert before == job.committed_by(zombie)
        for pid in frozen:
            if not gone(pid):
                thaw(pid)
        # The raylet may live on: the run may be over before Ray gives its machine up.
        wait_until(lambda: gone(worker))
        assert before == job.committed_by(zombie)
        last = dict(job.writers(Claim))
        assert any(by == zombie != last[log] for log, by in job.writers(Claim)), "its shards were taken over"
    job.check_complete(per_loss())


def test_a_frozen_worker(tmp_path: Path, server: ScriptedServer, machines: Machines) -> None:
    """A frozen process on a machine that is well is taken over and ended; thawed at that moment or not."""
    job = Watched(tmp_path, server, rows=2500)
    with Driver(job.path, machines.address, "--ray-nodes", "3") as driver:
        driver.until(lambda: job.committed() >= 300)
        worker = machines.workers("Node")[0]
        stop(worker)
        driver.until(lambda: "is lost (it does not answer)" in driver.said)
        if not gone(worker):
            thaw(worker)
        wait_until(lambda: gone(worker))
        assert 0 == driver.end(), driver.said
    job.check_complete(per_loss())


def test_object_storage(
    tmp_path: Path,
    server: ScriptedServer,
    machines: Machines,
    seaweedfs: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """All on s3://, on machines that know no credentials, one of which is killed: no row lost or doubled."""
    for name, text in s3_servers.environment(seaweedfs).items():
        monkeypatch.setenv(name, text)
    source = f"s3://{s3_servers.BUCKET}/prompts-{os.getpid()}"
    run = f"s3://{s3_servers.BUCKET}/run-{os.getpid()}"
    job = Watched(
        tmp_path,
        server,
        rows=1500,
        input={"path": f"{source}/*.jsonl", "id": "id", "prompt": "prompt", "shard_rows": 100},
        output={"path": run},
    )
    job.run = run
    address = parse_path(source)
    assert not isinstance(address, Path)
    open_store(address, StorageAccess(os.environ)).put("rows.jsonl", (tmp_path / "rows.jsonl").read_bytes())
    with Driver(job.path, machines.address, "--ray-nodes", "3") as driver:
        driver.until(lambda: job.committed() >= 300)
        worker = machines.workers("Node")[0]
        kill(machines.machine_of(worker))
        assert 0 == driver.end(), driver.said
    wait_until(lambda: gone(worker))  # by itself: nobody is left on its machine who would end it
    job.check_complete(per_loss())


def test_the_last_shard(tmp_path: Path, server: ScriptedServer, machines: Machines) -> None:
    """Nodes without a shard ask rows of the only one, too; one of them killed costs its calls at most."""
    limits = {"concurrency": 12}
    job = Watched(tmp_path, server, rows=240, shard_rows=240, limits=limits, delay_s=1)
    with Driver(job.path, machines.address, "--ray-nodes", "3") as driver:
        asking: Counter[int] = Counter()

        def found() -> int:
            nonlocal asking
            asking = connections(machines.workers("Node"), server.base_url)
            return len(asking)

        driver.until(lambda: found() >= 1)
        ((owner, _),) = asking.most_common(1)
        driver.until(lambda: found() == 3)
        kill(next(pid for pid in asking if pid != owner))
        assert 0 == driver.end(), driver.said
    assert 1 == len(job.writers(Claim)), "its owner had it all the time"
    job.check_complete(limits["concurrency"])


def test_a_store_without_preconditions(
    tmp_path: Path,
    server: ScriptedServer,
    machines: Machines,
    rclone: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is refused for a run on a cluster, with the reason, the way out, and no call made."""
    for name, text in s3_servers.environment(rclone).items():
        monkeypatch.setenv(name, text)
    job = Watched(tmp_path, server, rows=10, output={"path": f"s3://{s3_servers.BUCKET}/refused"})
    with Driver(job.path, machines.address) as driver:
        assert 4 == driver.end()
        assert "ignores preconditions" in driver.said
        assert "without --ray" in driver.said
    assert 0 == job.paid()


def test_another_version(
    tmp_path: Path, server: ScriptedServer, machines: Machines, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A driver with another qfbatch than the nodes, or another Ray, is told both versions; exit code 2."""
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.setenv("PYTHONPATH", str(site), prepend=os.pathsep)
    for module, said in (("qfbatch._version", " has qfbatch "), ("ray", "Version mismatch")):
        job = Watched(tmp_path, server, rows=400)
        (site / "sitecustomize.py").write_text(f"import {module} as it\nit.__version__ = '1.2.3'\n")
        with Driver(job.path, machines.address) as driver:
            assert 2 == driver.end(), driver.said
            assert said in driver.said
            assert "1.2.3" in driver.said
        assert 0 == job.paid()
        shutil.rmtree(tmp_path / "run", ignore_errors=True)
        (tmp_path / "job.stderr").unlink()


def test_the_cluster_is_lost(tmp_path: Path, server: ScriptedServer, machines: Machines) -> None:
    """Without its head, and without its machines, a run ends with exit code 4; another cluster resumes it."""
    job = Watched(tmp_path, server, rows=3000)
    with Machines(2) as lost, Driver(job.path, lost.address) as driver:
        driver.until(lambda: job.committed() >= 200)
        kill(lost.gcs)
        assert 4 == driver.end(), driver.said
        assert "Ray's head has not answered for 20 s" in driver.said
        assert "resume: qfbatch run job.yaml --ray" in driver.said
        assert job.paid() == job.committed(), "what was on its way was waited for"
    with Machines(2) as lost, Driver(job.path, lost.address) as driver:
        before = job.committed()
        driver.until(lambda: job.committed() >= before + 200)
        for pid in (*lost.workers("Node"), lost.gcs, *lost.raylets):
            kill(pid)
        assert 4 == driver.end(), driver.said
    with Driver(job.path, machines.address, "--ray-nodes", "2") as driver:
        assert 0 == driver.end(), driver.said
    job.check_complete(2 * per_loss())
