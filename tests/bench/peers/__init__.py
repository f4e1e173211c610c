"""Other batch runners on the same rows and the same server: `make bench-peers`."""
