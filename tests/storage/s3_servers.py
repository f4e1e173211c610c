"""S3-compatible servers on loopback: moto (quick), SeaweedFS (real), rclone (without preconditions)."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

BUCKET = "bucket"
READY_S = 100.0  # only a hang takes so long
_BIN = Path(sys.executable).parent


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on just now."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def environment(url: str) -> dict[str, str]:
    """The variables by which a process finds such a server."""
    return {
        "AWS_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret-of-the-store",
        "AWS_REGION": "us-east-1",
    }


@contextmanager
def moto() -> Iterator[str]:
    """A fake that keeps everything in its memory and enforces preconditions."""
    (port,) = free_ports(1)
    with _running([str(_BIN / "moto_server"), "-H", "127.0.0.1", "-p", str(port)], port) as url:
        yield url


@contextmanager
def seaweedfs(folder: Path) -> Iterator[str]:
    """A real object store, on one machine."""
    master, volume, filer, s3, *grpc = free_ports(8)
    command = [str(_BIN / "weed"), "server", f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"]
    command += [f"-master.port={master}", f"-volume.port={volume}", "-filer", f"-filer.port={filer}"]
    command += ["-s3", f"-s3.port={s3}", "-s3.port.iceberg=0", "-s3.port.lance=0"]
    command += [f"-master.port.grpc={grpc[0]}", f"-volume.port.grpc={grpc[1]}", f"-filer.port.grpc={grpc[2]}"]
    command += [f"-s3.port.grpc={grpc[3]}", "-volume.max=40", "-master.volumeSizeLimitMB=64"]
    with _running(command, s3) as url:
        yield url


@contextmanager
def rclone(folder: Path) -> Iterator[str]:
    """A store that answers a second creation with 200 and lets it win."""
    (port,) = free_ports(1)
    command = [str(_BIN / "rclone"), "serve", "s3", "--addr", f"127.0.0.1:{port}", str(folder)]
    with _running(command, port) as url:
        yield url


@contextmanager
def _running(command: Sequence[str], port: int) -> Iterator[str]:
    url = f"http://127.0.0.1:{port}"
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + READY_S
        while not _bucket(url):
            assert process.poll() is None, f"{command[0]} has ended"
            assert time.monotonic() < deadline, f"{command[0]} does not answer"
            time.sleep(0.05)
        yield url
    finally:
        process.kill()
        process.wait()


def _bucket(url: str) -> bool:
    """Make the bucket; False while the server does not answer."""
    request = urllib.request.Request(f"{url}/{BUCKET}", method="PUT")
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=5):
            return True
    except (urllib.error.URLError, OSError):
        return False


__all__ = ["BUCKET", "environment", "free_ports", "moto", "rclone", "seaweedfs"]
