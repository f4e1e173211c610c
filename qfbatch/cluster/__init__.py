"""A run on many machines: one driver, one limiter, and the same work in every node, on a Ray cluster."""
