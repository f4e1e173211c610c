"""What a run came to, from its results alone: figures, comparisons, gates, samples to read."""
