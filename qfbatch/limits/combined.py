"""Several gates as one, for displays and forecasts: one behind the other, or side by side."""

from __future__ import annotations

from collections.abc import Sequence

from qfbatch.limits.gate import GateStatistics

_TOKENS = "tpm"


def in_series(gates: Sequence[GateStatistics]) -> GateStatistics:
    """What a call meets that must pass all of these; the first of them that is shut is named."""
    limits: dict[str, float] = {}
    for gate in gates:
        for name, per_second in gate.limits.items():
            limits[name] = min(per_second, limits.get(name, per_second))
    return GateStatistics(
        in_flight=min(gate.in_flight for gate in gates),
        concurrency=min(gate.concurrency for gate in gates),
        paused_s=max(gate.paused_s for gate in gates),
        episodes=sum(gate.episodes for gate in gates),
        binding=next((gate.binding for gate in gates if gate.binding), ""),
        share=min((gate.share for gate in gates if gate.share), default=0.0),
        limits=limits,
    )


def in_parallel(gates: Sequence[GateStatistics], in_flight: int) -> GateStatistics:
    """What a call meets that may pass any of these: it is held back only where all are shut.

    Limits add up where all have one: calls limited here by the second and there by the minute are calls.

    Args:
        gates: at least one.
        in_flight: calls on their way through them.
    """
    binding = {gate.binding for gate in gates}
    limits: dict[str, float] = {}
    for tokens in (False, True):
        tightest = [_tightest(gate, tokens=tokens) for gate in gates]
        if all(name for name, _ in tightest):
            limits["/".join(sorted({name for name, _ in tightest}))] = sum(rate for _, rate in tightest)
    return GateStatistics(
        in_flight=in_flight,
        concurrency=sum(gate.concurrency for gate in gates),
        paused_s=min(gate.paused_s for gate in gates),
        episodes=sum(gate.episodes for gate in gates),
        binding="" if "" in binding else "/".join(sorted(binding)),
        share=min((gate.share for gate in gates if gate.share), default=0.0),
        limits=limits,
    )


def shared_out(gates: Sequence[GateStatistics]) -> GateStatistics:
    """One gate of which each of several processes has a share.

    Args:
        gates: the shares; at least one.
    """
    limits: dict[str, float] = {}
    for gate in gates:
        for name, per_second in gate.limits.items():
            limits[name] = limits.get(name, 0.0) + per_second
    return GateStatistics(
        in_flight=sum(gate.in_flight for gate in gates),
        concurrency=sum(gate.concurrency for gate in gates),
        paused_s=max(gate.paused_s for gate in gates),
        episodes=sum(gate.episodes for gate in gates),
        binding=next((gate.binding for gate in gates if gate.binding), ""),
        share=min((gate.share for gate in gates if gate.share), default=0.0),
        limits=limits,
    )


def _tightest(gate: GateStatistics, *, tokens: bool) -> tuple[str, float]:
    """The lowest of a gate's limits on tokens or on calls, with its name; an empty name without any."""
    limits = {name: rate for name, rate in gate.limits.items() if (name == _TOKENS) is tokens}
    return min(limits.items(), key=lambda item: item[1], default=("", 0.0))
