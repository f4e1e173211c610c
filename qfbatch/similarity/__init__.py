"""Similarities of two texts by libraries of the extra `evaluate`; loaded only where a job asks for one."""
