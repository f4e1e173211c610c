"""Real processes, real kills: what a run may not lose, double or pay twice."""
