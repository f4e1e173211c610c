"""The flow's inner parts over simulated time."""
