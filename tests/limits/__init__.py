"""Limits: rates, concurrency, learning."""
