"""qfbatch: a batch runner for text-completion endpoints."""
