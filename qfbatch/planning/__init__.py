"""What a run would do, cost and take, before it does: from its input, its limits and the answers so far."""
