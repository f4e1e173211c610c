"""The limiter as an actor of Ray's. A module of its own: its process imports nothing of what runs need."""

from __future__ import annotations

import ray

from qfbatch.cluster.limiter import Limiter


class LimiterActor(Limiter):
    """See `Limiter`; Ray starts it again, anywhere, when its process or machine is lost."""

    def __init__(self, nodes: int) -> None:
        super().__init__(again=ray.get_runtime_context().was_current_actor_reconstructed, nodes=nodes)


__all__ = ["LimiterActor"]
