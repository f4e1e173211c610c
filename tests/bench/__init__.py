"""Measures what the project promises to reach: `make bench`; see docs/performance.md. Not a test."""
