"""Resuming: the same question, the same input, or what becomes of it."""
