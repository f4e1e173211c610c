"""An engine that answers by rule and misbehaves on request; the grammar is in docs/server.md."""
