"""What every store of objects has to do, the fake included, and what is said of one that cannot."""

from __future__ import annotations

import importlib
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from qfbatch.errors import StorageError, UsageError
from qfbatch.storage import opening
from qfbatch.storage.access import StorageAccess
from qfbatch.storage.address import Address, parse_address
from qfbatch.storage.folder import FolderStore
from qfbatch.storage.objects import ObjectStore
from qfbatch.storage.probe import has_preconditions
from qfbatch.storage.ranged import object_file, object_pieces

from .memory import MemoryStore
from .s3_servers import BUCKET, environment

MakeStore = Callable[[], ObjectStore]
KEEPERS = ("memory", "folder", "moto", "seaweedfs")


def s3_store(url: str) -> ObjectStore:
    """A prefix of its own in a server's bucket."""
    return opening.open_store(Address(BUCKET, uuid.uuid4().hex), StorageAccess(environment(url)))


@pytest.fixture(params=KEEPERS)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    """An empty store of each kind."""
    match request.param:
        case "memory":
            return MemoryStore()
        case "folder":
            return FolderStore(tmp_path / "run")
        case server:
            return s3_store(request.getfixturevalue(server))


def test_the_first_to_create_wins(store: ObjectStore) -> None:
    """A second creation of a key is refused and changes nothing."""
    assert store.put_if_absent("log/a/1", b"first")
    assert not store.put_if_absent("log/a/1", b"second")
    assert store.get("log/a/1") == b"first"


def test_one_of_many_at_once_wins(store: ObjectStore) -> None:
    """Of writers that create the same key at the same time exactly one is told that it did."""
    for key in ("a/1", "a/2", "b/1"):
        with ThreadPoolExecutor(8) as pool:
            won = list(pool.map(lambda n, key=key: store.put_if_absent(key, b"%d" % n), range(8)))
        assert 1 == won.count(True)
        assert b"%d" % won.index(True) == store.get(key)


def test_putting_replaces_whole(store: ObjectStore) -> None:
    """The later of two puts is what is read, and its size and etag are its own."""
    store.put("deep/er/key", b"x" * 1000)
    before = store.stat("deep/er/key")
    store.put("deep/er/key", b"short")
    after = store.stat("deep/er/key")
    assert store.get("deep/er/key") == b"short"
    assert before is not None
    assert after is not None
    assert (1000, 5) == (before.size, after.size)
    assert before.etag != after.etag


def test_what_is_not_there_is_none(store: ObjectStore) -> None:
    """Reading, looking at and removing a missing object is no error, and neither is an empty listing."""
    assert store.get("no/such") is None
    assert store.get_range("no/such", 0, 10) is None
    assert store.stat("no/such") is None
    assert list(store.list("no/")) == []
    store.delete(["no/such"])


def test_listing_is_in_order_and_whole(store: ObjectStore) -> None:
    """A listing has every object below the prefix, in order, with its size, from where it is to start."""
    for key in ("log/b/2", "log/a/10", "log/a/2", "logs/a", "other"):
        store.put(key, key.encode())
    assert ["log/a/10", "log/a/2", "log/b/2"] == [info.key for info in store.list("log/")]
    assert [8, 7] == [info.size for info in store.list("log/a/")]
    assert ["log/b/2"] == [info.key for info in store.list("log/", after="log/a/2")]
    assert ["log/a/10"] == [info.key for info in store.list("log/", until="log/a/10")]
    assert ["log/a/2"] == [info.key for info in store.list("log/", after="log/a/10", until="log/b")]
    assert ["log/a/10", "log/a/2", "log/b/2", "logs/a", "other"] == [info.key for info in store.list()]
    store.delete(["log/a/2", "log/b/2"])
    assert ["log/a/10"] == [info.key for info in store.list("log/")]


def test_a_folder_that_cannot_be_read_is_not_empty(tmp_path: Path) -> None:
    """A listing that the system refuses is an error: taken for empty, what it holds would be done again."""
    (tmp_path / "log").symlink_to("log")
    with pytest.raises(StorageError, match="log: cannot read the folder: Too many levels of symbolic links"):
        FolderStore(tmp_path).list("log/")


def test_a_name_that_cannot_be_looked_at_is_no_fault_of_qfbatch(tmp_path: Path) -> None:
    """What the system says of a file that is looked for before it is created is told as of any other."""
    with pytest.raises(StorageError, match="cannot create: File name too long"):
        FolderStore(tmp_path).put_if_absent("x" * 300, b"")


def test_a_listing_is_not_cut_off(store: ObjectStore) -> None:
    """More objects than a page of S3 holds (1,000) are all listed."""
    keys = [f"many/{number:05d}" for number in range(1010)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda key: store.put(key, b""), keys))
    assert keys == [info.key for info in store.list("many/")]
    assert keys[:5] == [info.key for info in store.list("many/", until=keys[4])]


def test_ranges_of_an_object(store: ObjectStore) -> None:
    """A large object is read by ranges: as pieces from an offset on, and as a file that can be sought."""
    content = bytes(range(256)) * 10_000  # more than one range
    store.put("large", content)
    assert content[10:30] == store.get_range("large", 10, 20)
    assert content[-5:] == store.get_range("large", len(content) - 5, 100)
    assert store.get_range("large", len(content), 10) == b""
    pieces = list(object_pieces(store, "large", size=100_000, offset=3))
    assert content[3:] == b"".join(pieces)
    assert max(map(len, pieces)) <= 100_000
    with object_file(store, "large", len(content)) as file:
        file.seek(-300, 2)
        assert content[-300:] == file.read()
        file.seek(1000)
        assert content[1000:1010] == file.read(10)


def test_the_probe_trusts_who_keeps_to_it(store: ObjectStore) -> None:
    """A store with working preconditions is recognised, and nothing of the trial is left."""
    assert has_preconditions(store, "trial")
    assert list(store.list()) == []


def test_the_probe_finds_out_who_does_not(rclone: str) -> None:
    """A server that answers a second creation with 200 is recognised as one without preconditions."""
    assert not has_preconditions(s3_store(rclone), "trial")


def test_wrong_credentials_are_said(moto: str) -> None:
    """A store that cannot be reached is one error that names the place and shows no secret."""
    variables = environment(moto) | {"AWS_ENDPOINT_URL": moto, "AWS_ACCESS_KEY_ID": "k"}
    store = opening.open_store(Address("no-such-bucket", "run"), StorageAccess(variables))
    with pytest.raises(StorageError, match="s3://no-such-bucket/run/a: cannot write") as caught:
        store.put("a", b"")
    assert "secret-of-the-store" not in f"{caught.value}{caught.value!r}{StorageAccess(variables)!r}"


def test_without_the_extra_one_message(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where object storage is not installed, the error names the command that installs it."""

    def missing(name: str) -> object:
        raise ModuleNotFoundError(f"No module named {name}", name="obstore")

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(UsageError, match=r"pip install 'qfbatch\[s3\]'"):
        opening.open_store(Address("bucket", "run"), StorageAccess())


@pytest.mark.parametrize("path", ["s3://", "s3:///key", "s3://bucket/a//b", "s3://bucket/../a", "runs/a"])
def test_what_is_no_address_is_refused(path: str) -> None:
    """An address without a bucket, or with steps that are none, is an error of usage."""
    with pytest.raises(UsageError, match="not an address"):
        parse_address(path)


def test_an_address_is_a_bucket_and_a_key() -> None:
    """Slashes at the ends do not matter."""
    assert Address("bucket", "runs/eval") == parse_address("s3://bucket/runs/eval/")
    assert Address("bucket", "") == parse_address("s3://bucket")
    assert str(parse_address("s3://bucket/runs/eval/")) == "s3://bucket/runs/eval"
