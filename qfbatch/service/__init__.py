"""Dialects of the service: what goes over the wire and what comes back. Knows JSON, knows no socket."""
