"""The protocol layer: bytes and headers in, outcomes out; no socket."""
