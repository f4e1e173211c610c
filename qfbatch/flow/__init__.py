"""A run while it goes on: rows taken to the service and back, limits kept, answers committed.

`runner` ties it together; `worker` is one row's life, `admission` who may call now, `session` one process's
stay in a run directory.
"""
