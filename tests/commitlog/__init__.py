"""The commit log: its arithmetic, its writers, and what kills leave of them."""
