"""The object store that readers are tried on."""

from storage.conftest import moto

__all__ = ["moto"]
