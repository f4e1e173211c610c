"""The checkpoint: what was answered is on disk, once, whatever becomes of the process; docs/checkpoint.md."""
