"""Objects in an S3-compatible store, by obstore; the only module that knows it. Needs the extra `s3`."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from typing import Any, TypeVar

import obstore
from obstore.exceptions import (
    AlreadyExistsError,
    BaseError,
    GenericError,
    PermissionDeniedError,
    PreconditionError,
    UnauthenticatedError,
)
from obstore.store import S3Store as Client

from qfbatch.errors import StorageError
from qfbatch.storage.access import StorageAccess
from qfbatch.storage.address import Address
from qfbatch.storage.objects import ObjectInfo

Answer = TypeVar("Answer")

# What obstore knows of the environment's AWS_… names; the others are for other programs.
_NAMES = (
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_S3",
    "AWS_VIRTUAL_HOSTED_STYLE_REQUEST",
    "AWS_REQUEST_PAYER",
    "AWS_SKIP_SIGNATURE",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_ROLE_ARN",
    "AWS_ROLE_SESSION_NAME",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
)
_TIMEOUT_S = 60
_PATIENCE_S = 60.0
_PAGE = 1000
# obstore repeats what failed before it was sent and every read; a write that timed out is ours to repeat.
_WAIT_S = 0.5
_RETRIES: Any = {
    "max_retries": 1000,  # bounded by time
    "retry_timeout": timedelta(seconds=_PATIENCE_S),
    "backoff": {"init_backoff": timedelta(milliseconds=100), "max_backoff": timedelta(seconds=10), "base": 2},
}
_URL = re.compile(r"https?://\S+")


class S3Store:
    """See `ObjectStore`; keys are below a bucket's prefix, put-if-absent is `If-None-Match: *`.

    Args:
        address: bucket and prefix.
        access: endpoint, region and credentials; plain HTTP only where the endpoint says so.
    """

    def __init__(self, address: Address, access: StorageAccess) -> None:
        self._address = address
        config: Any = {name.lower(): access.get(name) for name in _NAMES if access.get(name)}
        endpoint = access.get("AWS_ENDPOINT_URL_S3") or access.get("AWS_ENDPOINT_URL")
        if not (access.get("AWS_REGION") or access.get("AWS_DEFAULT_REGION")):
            config["aws_region"] = "us-east-1"  # what stores of one's own expect, and AWS's own default
        self._scan_options = {**config, "aws_allow_http": str(endpoint.startswith("http://")).lower()}
        try:
            self._client = Client(
                address.bucket,
                prefix=address.key or None,
                config=config,
                client_options={
                    "allow_http": endpoint.startswith("http://"),
                    "timeout": timedelta(seconds=_TIMEOUT_S),
                },
                retry_config=_RETRIES,
            )
        except BaseError as error:
            raise self._error("", "open", error) from None

    @property
    def place(self) -> str:
        """See `ObjectStore.place`."""
        return str(self._address)

    def scan_source(self, key: str) -> tuple[str, dict[str, str]] | None:
        """See `ObjectStore.scan_source`."""
        return f"{self._address}/{key}", dict(self._scan_options)

    def put_if_absent(self, key: str, content: bytes) -> bool:
        """See `ObjectStore.put_if_absent`."""
        try:
            self._write(key, lambda: obstore.put(self._client, key, content, mode="create"))
        except (AlreadyExistsError, PreconditionError):
            return False
        return True

    def put(self, key: str, content: bytes) -> None:
        """See `ObjectStore.put`."""
        self._write(key, lambda: obstore.put(self._client, key, content, use_multipart=False))

    def get(self, key: str) -> bytes | None:
        """See `ObjectStore.get`."""
        return self._read(key, lambda: bytes(obstore.get(self._client, key).bytes()))

    def get_range(self, key: str, start: int, length: int) -> bytes | None:
        """See `ObjectStore.get_range`."""

        def read() -> bytes:
            """The range; empty where it begins at the end of the object or later, which stores refuse."""
            try:
                return bytes(obstore.get_range(self._client, key, start=start, length=length))
            except GenericError:
                # From its end on a range is refused; every other error says itself again.
                if start >= obstore.head(self._client, key)["size"]:
                    return b""
                raise

        return self._read(key, read)

    def stat(self, key: str) -> ObjectInfo | None:
        """See `ObjectStore.stat`."""
        return self._read(key, lambda: _info(obstore.head(self._client, key)))

    def list(self, prefix: str = "", *, after: str = "", until: str = "") -> Iterator[ObjectInfo]:
        """See `ObjectStore.list`."""
        folder, _, start = prefix.rpartition("/")
        try:
            pages = obstore.list(self._client, folder or None, offset=after or None, chunk_size=_PAGE)
            found: list[ObjectInfo] = []
            for page in pages:
                found += map(_info, page)
                if until and found and found[-1].key > until:
                    break  # S3 lists in order
        except FileNotFoundError:
            return iter(())
        except BaseError as error:
            raise self._error(prefix, "list", error) from None
        if start or until:
            found = [
                info for info in found if info.key.startswith(prefix) and (not until or info.key <= until)
            ]
        return iter(sorted(found, key=lambda info: info.key))

    def delete(self, keys: Iterable[str]) -> None:
        """See `ObjectStore.delete`."""
        for key in keys:
            try:
                obstore.delete(self._client, key)
            except FileNotFoundError:
                continue
            except BaseError as error:
                raise self._error(key, "remove", error) from None

    def _read(self, key: str, read: Callable[[], Answer]) -> Answer | None:
        try:
            return read()
        except FileNotFoundError:
            return None
        except BaseError as error:
            raise self._error(key, "read", error) from None

    def _write(self, key: str, write: Callable[[], object]) -> None:
        until = time.monotonic() + _PATIENCE_S
        while True:
            try:
                write()
            except (AlreadyExistsError, PreconditionError):
                raise
            except (PermissionDeniedError, UnauthenticatedError) as error:
                raise self._error(key, "write", error) from None
            except GenericError as error:
                if time.monotonic() > until:
                    raise self._error(key, "write", error) from None
                time.sleep(_WAIT_S)
            except (BaseError, FileNotFoundError) as error:
                raise self._error(key, "write", error) from None
            else:
                return

    def _error(self, key: str, doing: str, error: Exception) -> StorageError:
        """The client's error as the user meets it: its kind, without addresses and bodies."""
        where = f"{self.place}/{key}" if key else self.place
        if isinstance(error, PermissionDeniedError | UnauthenticatedError):
            reason, hint = "the store refuses these credentials", _CREDENTIALS
        elif isinstance(error, FileNotFoundError):
            reason, hint = "there is no such bucket", "Create the bucket, or correct the address."
        else:
            said = str(error).partition("\n")[0].partition(": <")[0].rpartition(" - ")[2]
            reason, hint = _URL.sub("the store", said)[:300], _UNREACHABLE
        return StorageError(f"{where}: cannot {doing}: {reason}", hint=hint)


def _info(meta: Any) -> ObjectInfo:
    return ObjectInfo(meta["path"], meta["size"], (meta["e_tag"] or "").strip('"'))


_CREDENTIALS = (
    "Check AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION (environment or .env)."
)
_UNREACHABLE = (
    "Check AWS_ENDPOINT_URL and the network, then run the same command again: "
    "it continues from what was committed."
)

__all__ = ["S3Store"]
