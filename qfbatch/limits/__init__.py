"""Limits: how many calls at once, how many per time. Pure arithmetic over a given now."""
