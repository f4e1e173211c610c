"""Prints how much of a quota is used and how much refused: `python -m tests.flow.quota_simulation`."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from dataclasses import dataclass

from qfbatch.limits.quota import Quota
from qfbatch.service.dialect import RateSignals

from .services import FixedWindow, QuotaService, SlidingWindow, TokenBucket, Window
from .world import simulated

QPS, RPM, TPM = 10.0, 600.0, 360_000.0  # three times the same: 600 calls of 600 tokens a minute
MEAN_TOKENS = 600
COUNTS = ("fixed", "sliding", "bucket")
LIMITS = ("qps", "rpm", "tpm", "all", "all/tpm")
SPARE = 1.1  # in "all" the calls bind and tokens have this much room, in "all/tpm" it is the other way round


@dataclass(frozen=True)
class Figure:
    """What came of one simulated run."""

    used: float
    refused: float


def window(counting: str, limit: float, window_s: float) -> Window:
    """A window that counts in one of the ways services have."""
    if counting == "fixed":
        return FixedWindow(limit, window_s, phase_s=0.37 * window_s)
    if counting == "sliding":
        return SlidingWindow(limit, window_s)
    return TokenBucket(limit / window_s, limit / 2 if window_s > 1 else limit)


def tokens_of(rng: random.Random) -> int:
    """What a row costs: 600 tokens on average, widely spread."""
    return max(60, min(3000, int(rng.gammavariate(4.0, MEAN_TOKENS / 4))))


def figure(
    counting: str,
    limit: str,
    *,
    declared: float | None,
    headers: bool = False,
    retry_after_s: float | None = None,
    per_model: bool = False,
    models: int = 1,
    minutes: int = 10,
    skip_s: float = 0.0,
    scale: float = 1.0,
    latency_s: Callable[[random.Random], float] = lambda rng: rng.lognormvariate(0.0, 0.5),
    concurrency: int = 64,
) -> Figure:
    """Use and refusals of one service.

    Args:
        counting: how it counts.
        limit: what it limits.
        declared: what the job declares, as a multiple of the true limit; None declares nothing.
        headers: whether it says its limits in headers.
        retry_after_s: what it asks for in refusals.
        per_model: whether the job declares the limits for the model instead of the run.
        models: models of one account, each through its own lane.
        minutes: simulated.
        skip_s: of these, what is not looked at.
        scale: of all limits.
        latency_s: draws how long an answer takes.
        concurrency: calls in flight at most.
    """
    qps, rpm, tpm = QPS * scale, RPM * scale, TPM * scale
    if limit == "all":
        tpm *= SPARE
    if limit == "all/tpm":
        qps, rpm = qps * SPARE, rpm * SPARE
    together = limit.startswith("all")
    requests: list[Window] = []
    if together or limit == "qps":
        requests.append(window(counting, qps, 1.0))
    if together or limit == "rpm":
        requests.append(window(counting, rpm, 60.0))
    service = QuotaService(
        requests=tuple(requests),
        tokens=(window(counting, tpm, 60.0),) if together or limit == "tpm" else (),
        latency_s=latency_s,
        tokens_of=tokens_of,
        retry_after_s=retry_after_s,
        signals=RateSignals(
            limit_requests=rpm if limit != "tpm" else None,
            limit_tokens=tpm if together or limit == "tpm" else None,
        )
        if headers
        else None,
    )
    quota = Quota(
        concurrency,
        qps=declared * qps if declared and (together or limit == "qps") else None,
        rpm=declared * rpm if declared and (together or limit == "rpm") else None,
        tpm=declared * tpm if declared and (together or limit == "tpm") else None,
    )
    names = [f"m{n}" for n in range(models)]
    ended = simulated(
        dict.fromkeys(names, service),
        int(minutes * 60 * qps * 3),
        limits=Quota(concurrency) if per_model else quota,
        quotas=dict.fromkeys(names, quota) if per_model else None,
        stop_after_s=minutes * 60.0,
        estimated_tokens=MEAN_TOKENS // 2,
    )
    since, seconds = ended.began + skip_s, minutes * 60.0 - skip_s
    accepted = [(at, tokens) for at, tokens in service.accepted if at >= since]
    refused = sum(1 for at in service.refused if at >= since)
    used_calls = len(accepted) / (qps * seconds)
    used_tokens = sum(tokens for _, tokens in accepted) / (tpm / 60 * seconds)
    used = used_tokens if limit.endswith("tpm") else used_calls
    return Figure(used, refused / max(1, refused + len(accepted)))


def main() -> None:
    """Print one table."""
    cases: list[tuple[str, dict[str, object]]] = [
        ("declared", {"declared": 1.0}),
        ("declared, two models", {"declared": 1.0, "models": 2}),
        ("20 % too high, of the model", {"declared": 1.2, "per_model": True, "skip_s": 60.0}),
        ("20 % too high, of the run", {"declared": 1.2, "skip_s": 60.0}),
        ("20 % too high, two models", {"declared": 1.2, "models": 2, "skip_s": 60.0}),
        ("absent, said in headers", {"declared": None, "headers": True, "skip_s": 60.0}),
        ("absent", {"declared": None, "skip_s": 60.0}),
        ("absent, Retry-After 1 s", {"declared": None, "retry_after_s": 1.0, "skip_s": 60.0}),
        ("absent, two models", {"declared": None, "models": 2, "skip_s": 60.0}),
    ]
    wanted = sys.argv[1:]
    for name, options in cases:
        if wanted and not any(word in name for word in wanted):
            continue
        for limit in LIMITS:
            shown = []
            for counting in COUNTS:
                result = figure(counting, limit, **options)  # type: ignore[arg-type]  # options are those of `figure`
                shown.append(f"{result.used:7.2%} {result.refused:6.2%}")
            sys.stdout.write(f"{name:30} {limit:4} " + " | ".join(shown) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
