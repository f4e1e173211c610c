"""The local server: what the script answers on one core, what the real model makes of 16 calls at once."""

from __future__ import annotations

import json
import os
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from qfbatch.errors import UsageError
from qfbatch.server.embedded import EmbeddedServer

from .figures import Bench, Figure, Missing, median
from .nginx import COMPLETIONS, wrk

MODEL = "smollm2-135m-instruct"
PROMPTS = (
    "Write a long story about a",
    "Explain in many words what is a",
    "List everything you know about a",
)
THINGS = ("river", "bridge", "lantern", "harbour", "forest", "clock", "garden", "train")
AT_ONCE = 16


def scripted(bench: Bench) -> list[Figure]:
    """The scripted engine, asked by wrk as fast as it can; what counts is the server's own CPU."""
    per_cpu, rates = [], []
    with EmbeddedServer(engine="scripted") as server:
        _ask(server.base_url + COMPLETIONS + "/echo", "is this an answer?")
        for _ in range(bench.repeats):
            before = _cpu_s(server.pid)
            seconds = bench.size(8, 1)
            rate = wrk(server.base_url + COMPLETIONS + "/echo", bench.folder, seconds)
            rates.append(rate)
            per_cpu.append(rate * seconds / (_cpu_s(server.pid) - before))
    return [
        Figure(
            "scripted requests a CPU second",
            median(per_cpu),
            at_least=5000,
            note="asked by wrk, 64 connections",
        ),
        Figure("scripted requests", median(rates), "requests/s", note="beside wrk, on what cores are free"),
    ]


def model(bench: Bench) -> list[Figure]:
    """The real model, one call at a time and 16 at once; and what HTTP and the server cost beside it."""
    calls = bench.size(48, 16)
    try:
        server = EmbeddedServer().start()
    except UsageError as error:
        raise Missing(f"{error.message} {error.hint}") from error
    try:
        ratios, alone, together, latency = [], [], [], []
        for number in range(bench.size(3, 1)):
            one, seconds = _tokens_per_second(server.base_url, calls // AT_ONCE * 4, 1, number)
            many, _ = _tokens_per_second(server.base_url, calls, AT_ONCE, number)
            alone.append(one)
            together.append(many)
            ratios.append(many / one)
            latency.append(seconds)
            bench.say(f"model {number + 1}: {one:.0f} tokens/s alone, {many:.0f} with {AT_ONCE} in flight")
    finally:
        server.close()
    with EmbeddedServer(engine="scripted") as script:
        url = script.base_url + COMPLETIONS + "/words,tokens=96"
        ours = median([_ask(url, _prompt(0, n))[1] for n in range(bench.size(200, 20))])
    return [
        Figure(f"tokens/s at {AT_ONCE} in flight : alone", median(ratios), at_least=1.7),
        Figure("tokens alone", median(alone), "tokens/s"),
        Figure(f"tokens at {AT_ONCE} in flight", median(together), "tokens/s"),
        Figure(
            "HTTP and server, share of an answer's latency",
            ours / median(latency),
            at_most=0.02,
            note=f"scripted, as many words: {ours * 1000:.1f} ms; the model: {median(latency):.2f} s",
        ),
    ]


def _tokens_per_second(base_url: str, calls: int, at_once: int, take: int) -> tuple[float, float]:
    """Completion tokens a second, and the median latency."""
    url = f"{base_url}{COMPLETIONS}/{MODEL}"
    prompts = [_prompt(take, number) for number in range(calls)]
    began = time.perf_counter()
    with ThreadPoolExecutor(at_once) as pool:
        answers = list(pool.map(partial(_ask, url), prompts))
    took = time.perf_counter() - began
    return sum(tokens for tokens, _ in answers) / took, median([seconds for _, seconds in answers])


def _prompt(take: int, number: int) -> str:
    return f"{PROMPTS[number % 3]} {THINGS[number % 8]} and the number {take * 1000 + number}."


def _ask(url: str, prompt: str) -> tuple[int, float]:
    """Completion tokens of one answer, and how long it took."""
    body = json.dumps({"prompt": prompt}).encode()
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    began = time.perf_counter()
    with opener.open(urllib.request.Request(url, body), timeout=120) as response:
        answer = json.load(response)
    return int(answer["usage"]["completion_tokens"]), time.perf_counter() - began


def _cpu_s(pid: int) -> float:
    stat = Path(f"/proc/{pid}/stat")
    if not stat.exists():
        raise Missing("CPU time of another process is read from /proc, which is not here")
    fields = stat.read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
