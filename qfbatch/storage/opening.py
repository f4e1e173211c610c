"""From an address to its store. What S3 needs is optional, so it is imported here by name, when asked for."""

from __future__ import annotations

import importlib

from qfbatch.errors import UsageError
from qfbatch.storage.access import StorageAccess
from qfbatch.storage.address import Address
from qfbatch.storage.objects import ObjectStore

INSTALL = "python -m pip install 'qfbatch[s3]'"


def open_store(address: Address, access: StorageAccess) -> ObjectStore:
    """The store of all keys below an address.

    Args:
        address: bucket and prefix.
        access: endpoint and credentials.

    Raises:
        UsageError: object storage is not installed.
        StorageError: the settings are no good.
    """
    try:
        module = importlib.import_module("qfbatch.storage.s3")
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "obstore":
            raise
        raise UsageError(
            f"{address}: object storage is not installed", hint=f"Install it: {INSTALL}"
        ) from None
    store: ObjectStore = module.S3Store(address, access)
    return store


__all__ = ["INSTALL", "open_store"]
