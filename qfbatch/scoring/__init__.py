"""How good the answers are, where a job asks: scorers, scores, and how far they can be trusted."""
