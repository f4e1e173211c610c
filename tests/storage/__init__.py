"""Stores of objects: one contract, several keepers."""
