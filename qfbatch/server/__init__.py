"""A local server that speaks the service's protocol, over a real small model or a scripted one.

`embedded` starts it as a child process; `qfbatch serve` runs it. See docs/server.md.
"""
