"""Tests of the local server: real sockets, real processes, the official client unchanged."""
