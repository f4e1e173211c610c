"""The files that users copy to run on SLURM and Kubernetes: sound, true to the commands, and run here."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
import tomllib
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from functools import cache
from pathlib import Path
from typing import Any, Self

import polars as pl
import pytest
import yaml
from documents import ROOT
from reference.commands import command_named
from scripted import ScriptedServer

from qfbatch import errors

from .runs import Machines, children, command, kill, write_job

BIN = Path(sys.executable).parent
SBATCH = ROOT / "docs" / "how-to" / "slurm" / "qfbatch.sbatch"
KUBERNETES = ROOT / "docs" / "how-to" / "kubernetes"
ROWS, IN_FLIGHT = 600, 8
# Runs a step's command here, as the machine that the step was for: its address is its name.
SRUN = """#!/bin/bash
while [[ $1 == --* ]]; do [[ $1 == --nodelist=* ]] && machine=${1#*=}; shift; done
[[ " $* " == *" --head "* ]] || set -- "$@" "--node-ip-address=$machine"
exec "$@"
"""
SCONTROL = """#!/bin/bash
echo "$*" >> scontrol.log
[[ $1 != show ]] || printf '%s\\n' 127.0.0.2 127.0.0.3
"""
RAY = f"""#!/bin/bash
exec {BIN}/ray "$@" --node-ip-address=127.0.0.3
"""


@cache
def documents(name: str) -> list[dict[str, Any]]:
    """The objects of a manifest."""
    return list(yaml.safe_load_all((KUBERNETES / name).read_text(encoding="utf-8")))


def objects(kind: str) -> list[dict[str, Any]]:
    """All objects of a kind in all manifests."""
    found = [found for path in sorted(KUBERNETES.glob("*.yaml")) for found in documents(path.name)]
    return [each for each in found if each["kind"] == kind]


def clusters() -> list[dict[str, Any]]:
    """What Ray clusters are to be like, alone or within a RayJob."""
    return [
        *(found["spec"] for found in objects("RayCluster")),
        *(found["spec"]["rayClusterSpec"] for found in objects("RayJob")),
    ]


def pods(cluster: dict[str, Any]) -> list[dict[str, Any]]:
    """A cluster's pods: the head's, then each kind of workers'."""
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    return [group["template"]["spec"] for group in groups]


def runs() -> list[tuple[str, dict[str, Any]]]:
    """Every `qfbatch run` of the manifests, with the pod that it is in."""
    jobs = objects("Job")
    found = [
        (pod["containers"][0]["args"][0], pod) for pod in (job["spec"]["template"]["spec"] for job in jobs)
    ]
    rayjobs = [job["spec"] for job in objects("RayJob")]
    return [*found, *((spec["entrypoint"], pods(spec["rayClusterSpec"])[0]) for spec in rayjobs)]


def options(text: str) -> dict[str, str]:
    """The long options of the `qfbatch run` in a script, each with what follows it."""
    words = shlex.split(text.replace("\\\n", " ").partition("qfbatch run")[2].partition("\n")[0])
    return {word: after for word, after in zip(words, [*words[1:], ""], strict=True) if word.startswith("--")}


class TestManifests:
    """What can be said of them without Kubernetes; how they fit KubeRay's schemas, docs/how-to says."""

    def test_one_image_and_one_version_of_ray(self) -> None:
        """All pods have one image, all clusters the version of Ray it is built with, which qfbatch admits."""
        images = {pod["containers"][0]["image"] for cluster in clusters() for pod in pods(cluster)}
        images |= {pod["containers"][0]["image"] for _, pod in runs()}
        assert len(images) == 1
        dockerfile = (KUBERNETES / "Dockerfile").read_text(encoding="utf-8")
        built = dockerfile.partition("ARG RAY=")[2].partition("\n")[0]
        assert {cluster["rayVersion"] for cluster in clusters()} == {built}
        extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
        assert extras["ray"] == ["ray>=2.50,<3"]
        assert (2, 52) <= tuple(int(part) for part in built.split(".")[:2]) < (3, 0)  # with keys, since 2.52

    def test_every_exit_code_is_decided(self) -> None:
        """Each documented code fails the Job, starts it again uncounted, or counts as one more start."""
        spec = objects("Job")[0]["spec"]
        rules = spec["podFailurePolicy"]["rules"]
        decided = {rule["action"]: rule["onExitCodes"]["values"] for rule in rules if "onExitCodes" in rule}
        fatal = {kind.exit_code for kind in _kinds(errors.QfbatchError) if hasattr(kind, "exit_code")}
        assert set(decided["FailJob"]) == (fatal | {1}) - {4}
        assert decided["Ignore"] == [128 + signal.SIGINT, 128 + signal.SIGTERM]
        assert spec["backoffLimit"] > 0
        assert spec["template"]["spec"]["restartPolicy"] == "Never"
        names = {rule["onExitCodes"]["containerName"] for rule in rules if "onExitCodes" in rule}
        assert names == {spec["template"]["spec"]["containers"][0]["name"]}

    def test_a_stop_in_good_order_has_time(self) -> None:
        """Whoever ends the driver waits longer than its calls on their way may take."""
        for text, pod in runs():
            grace_s = float(options(text)["--grace"])
            assert grace_s + 30 <= pod["terminationGracePeriodSeconds"]
            waits = [
                entry["value"]
                for entry in pod["containers"][0]["env"]
                if entry["name"] == "RAY_JOB_STOP_WAIT_TIME_S"
            ]
            assert [wait for wait in waits if float(wait) < grace_s + 30] == []
        sbatch = SBATCH.read_text(encoding="utf-8")
        told_s = float(sbatch.partition("--signal=B:TERM@")[2].partition("\n")[0])
        assert float(sbatch.partition("grace_s=")[2].split()[0]) + 30 <= told_s

    def test_only_the_driver_has_the_keys(self) -> None:
        """The Secret with credentials is in the driver's environment and in no other pod."""
        assert len(runs()) == 2
        for _, pod in runs():
            assert pod["containers"][0]["envFrom"] == [{"secretRef": {"name": "qfbatch-keys"}}]
        alone = objects("RayCluster")[0]["spec"]
        within = objects("RayJob")[0]["spec"]["rayClusterSpec"]
        for pod in [*pods(alone), *pods(within)[1:]]:
            assert "qfbatch-keys" not in yaml.safe_dump(pod)

    def test_as_many_nodes_as_cpus_of_workers(self) -> None:
        """No node of the run waits for a CPU that is not there: the head has none, a worker one."""
        for cluster in clusters():
            assert cluster["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
            cpus = [
                group["replicas"] * int(group["rayStartParams"]["num-cpus"])
                for group in cluster["workerGroupSpecs"]
            ]
            for text, pod in runs():
                nodes = options(text)["--ray-nodes"]
                variables = {entry["name"]: entry.get("value") for entry in pod["containers"][0]["env"]}
                assert int(variables[nodes[1:]] if nodes.startswith("$") else nodes) == sum(cpus)

    def test_their_options_exist(self) -> None:
        """What they pass to `qfbatch run` are options of its own."""
        known = {name for option in command_named("run").params for name in option.opts}
        texts = [*(text for text, _ in runs()), SBATCH.read_text(encoding="utf-8")]
        assert [set(options(text)) - known for text in texts] == [set(), set(), set()]


def _kinds(kind: type[errors.QfbatchError]) -> Iterator[type[errors.QfbatchError]]:
    for below in kind.__subclasses__():
        yield below
        yield from _kinds(below)


def test_the_scripts_are_sound_shell() -> None:
    """Shellcheck finds nothing in the batch script, nor in what a driver's container runs."""
    driver = objects("Job")[0]["spec"]["template"]["spec"]["containers"][0]["args"][0]
    for text in (SBATCH.read_text(encoding="utf-8"), f"#!/bin/bash\n{driver}"):
        checked = subprocess.run(
            [BIN / "shellcheck", "-"], input=text, capture_output=True, text=True, check=False
        )
        assert checked.stdout == ""


def test_keys_that_others_may_read_are_refused(tmp_path: Path) -> None:
    """The batch script starts nothing over a `.env` that is not its user's alone."""
    (tmp_path / ".env").write_text("QIANFAN_AK=key\n")
    (tmp_path / ".env").chmod(0o644)
    ended = subprocess.run(
        ["/bin/bash", SBATCH, "job.yaml"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (2, "qfbatch.sbatch: .env may be read by others: chmod 600 .env\n") == (
        ended.returncode,
        ended.stderr,
    )


class Here:
    """A recipe's script on this machine; a context manager that leaves no process behind.

    Args:
        script: its words.
        folder: where it runs, with fakes of what it calls.
        fakes: programs in front of all others, by name.
        variables: of its environment.
    """

    def __init__(
        self, script: list[str], folder: Path, fakes: dict[str, str], variables: dict[str, str]
    ) -> None:
        (folder / "bin").mkdir(exist_ok=True)
        for name, text in fakes.items():
            (folder / "bin" / name).write_text(text)
            (folder / "bin" / name).chmod(0o755)
        variables = {"PATH": f"{folder}/bin:{BIN}:{os.environ['PATH']}", **variables}
        self._said = folder / "said"
        with self._said.open("ab") as said:
            self._before = said.tell()
            self.process = subprocess.Popen(
                script,
                cwd=folder,
                env={**os.environ, **variables},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=said,
                start_new_session=True,
            )

    def says(self, words: str) -> bool:
        """Wait until it has said something; False if it ends before."""
        deadline = time.monotonic() + 200
        while words.encode() not in self._said.read_bytes()[self._before :]:
            if self.process.poll() is not None:
                return False
            assert time.monotonic() < deadline, self._said.read_text()
            time.sleep(0.1)
        return True

    def end(self) -> int:
        """Wait for its end; the exit code."""
        return self.process.wait(200)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            found = [self.process.pid]
            for pid in found:
                found += children(pid)
            for pid in found:
                kill(pid)
        self.process.wait()


@pytest.fixture(scope="module")
def server() -> Iterator[ScriptedServer]:
    """The service."""
    with ScriptedServer() as running:
        yield running


@pytest.mark.cluster
@pytest.mark.timeout(600)
def test_a_batch_job_runs_stops_and_resumes(tmp_path: Path, server: ScriptedServer) -> None:
    """Two machines work; told that time is over, it stops in order, asks to be queued again, and resumes."""
    endpoint = server.endpoint("echo,delay=0.3")  # long enough for a word of how it goes, and a stop
    job = write_job(
        tmp_path, server.base_url, endpoint, rows=ROWS, shard_rows=50, limits={"concurrency": IN_FLIGHT}
    )
    number = str(20_000_000 + os.getpid())
    variables = {
        "HEAD_IP": "127.0.0.2",
        "SLURM_JOB_ID": number,
        "SLURM_JOB_NODELIST": "n[1-2]",
        "SLURM_CPUS_PER_TASK": "1",
    }
    fakes, script = {"srun": SRUN, "scontrol": SCONTROL}, ["/bin/bash", str(SBATCH), job.name]
    with Here(script, tmp_path, fakes, variables) as first:
        assert first.says("in flight"), (tmp_path / "said").read_text()
        first.process.send_signal(signal.SIGTERM)
        assert first.end() == 143
    asked = ["show hostnames n[1-2]", f"requeue {number}"]
    assert asked == (tmp_path / "scontrol.log").read_text().splitlines()
    with Here(script, tmp_path, fakes, {**variables, "SLURM_RESTART_COUNT": "1"}) as again:
        assert again.end() == 0, (tmp_path / "said").read_text()
    assert [*asked, asked[0]] == (tmp_path / "scontrol.log").read_text().splitlines()
    frame = pl.read_parquet(tmp_path / "run" / "results" / "*.parquet")
    assert (ROWS, ROWS) == (frame.height, frame["row_id"].n_unique())
    paid = Counter({prompt: answered for prompt, (_, answered) in server.calls(endpoint).items()})
    assert ROWS == paid.total()  # nothing twice: the stop was in good order
    assert [] == [pid for pid in _processes() if f"/tmp/ray-{number}" in command(pid)]


@pytest.mark.cluster
@pytest.mark.timeout(600)
def test_a_driver_of_the_job_joins_the_cluster(tmp_path: Path, server: ScriptedServer) -> None:
    """What its container runs makes this machine part of the cluster, and ends with qfbatch's exit code."""
    endpoint = server.endpoint("echo,delay=0.3")
    job = write_job(
        tmp_path, server.base_url, endpoint, rows=ROWS, shard_rows=50, limits={"concurrency": IN_FLIGHT}
    )
    container = objects("Job")[0]["spec"]["template"]["spec"]["containers"][0]
    with ExitStack() as stack:
        machines = Machines(2)
        stack.callback(lambda: _end_all_of(machines.address))
        stack.enter_context(machines)
        variables = {
            "RAY_HEAD": machines.address,
            "RAY_ADDRESS": machines.address,  # other clusters may be on this machine; in a pod there are none
            "JOB": str(job),
            "NODES": "2",
        }
        script = [*container["command"], *container["args"]]
        for stopped in (True, False):
            for _ in range(1 + objects("Job")[0]["spec"]["backoffLimit"]):  # what the Job does after 4
                with Here(script, tmp_path, {"ray": RAY}, variables) as driver:
                    if stopped and driver.says("in flight"):
                        driver.process.send_signal(signal.SIGTERM)
                    code = driver.end()
                if code != 4:
                    break
            assert code == (143 if stopped else 0), (tmp_path / "said").read_text()
    frame = pl.read_parquet(tmp_path / "run" / "results" / "*.parquet")
    assert (ROWS, ROWS) == (frame.height, frame["row_id"].n_unique())


def _end_all_of(address: str) -> None:
    """End what a container takes with it: Ray's processes on a cluster that is gone."""
    for pid in _processes():
        if address and address in command(pid):
            with suppress(ProcessLookupError):
                kill(pid)


def _processes() -> list[int]:
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdecimal()]
