"""`qfbatch serve`: a local server that speaks the service's protocols, V1 and OpenAI-compatible."""

from __future__ import annotations

import importlib
import logging
import os
import sys
from pathlib import Path
from typing import Any

import click
import msgspec

from qfbatch.errors import QfbatchError, UsageError
from qfbatch.server import weights
from qfbatch.server.embedded import MAX_TOKENS, SLOTS

_DEFAULT_PORT = 8600


_HELP = """Serve completions on this machine: a real small model, or scripted faults for tests.

Speaks Qianfan V1 at its own paths and the OpenAI-compatible protocol (Qianfan V2) under /v1 and /v2:
completions, chat/completions, models.

Accepts any credentials, unless the environment names keys to demand: QFBATCH_SERVE_ACCESS_KEY
with QFBATCH_SERVE_SECRET_KEY (V1), QFBATCH_SERVE_BEARER_KEYS (Bearer keys, separated by commas).
"""


@click.command(help=_HELP)
@click.option(
    "--engine",
    type=click.Choice(["model", "scripted"]),
    default="model",
    show_default=True,
    help="What answers: a real small model, or a script.",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=_DEFAULT_PORT, show_default=True, help="0: a free one."
)
@click.option(
    "--model",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A GGUF file instead of the default model.",
)
@click.option("--endpoint", help="The name --model is served under; the file's stem by default.")
@click.option("--fetch-model", is_flag=True, help="Fetch the default model if it is missing, then exit.")
@click.option(
    "--max-tokens",
    type=click.IntRange(1),
    default=MAX_TOKENS,
    show_default=True,
    help="Cap on an answer's tokens where the request has none (V1 never has).",
)
@click.option(
    "--slots", type=click.IntRange(1, 256), default=SLOTS, show_default=True, help="Answers at once."
)
@click.option(
    "--context",
    type=click.IntRange(64),
    default=1024,
    show_default=True,
    help="Tokens of prompt and answer together.",
)
@click.option("--threads", type=click.IntRange(1), help="Threads that compute; all cores by default.")
@click.option(
    "--token-seconds",
    type=click.FloatRange(min=0, min_open=True),
    default=2_592_000,
    show_default=True,
    help="How long access tokens are good.",
)
@click.option(
    "--ledger",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Append a line per completed answer to this file (scripted).",
)
@click.option("--announce", is_flag=True, help="Print one JSON line with base_url and endpoints when ready.")
@click.option("--exit-with-parent", is_flag=True, help="End when stdin ends, which is when the parent dies.")
def command(**options: Any) -> None:
    """Entry point of `qfbatch serve`; see `_serve`."""
    logging.basicConfig(stream=sys.stderr, format="%(name)s: %(message)s", level=logging.WARNING)
    try:
        _serve(**options)
    except QfbatchError as error:
        if options["announce"]:  # a parent reads it there; a person reads stderr
            _say({"error": error.message, "hint": error.hint})
        raise


def _serve(
    *,
    engine: str,
    host: str,
    port: int,
    model: Path | None,
    endpoint: str | None,
    fetch_model: bool,
    max_tokens: int,
    slots: int,
    context: int,
    threads: int | None,
    token_seconds: float,
    ledger: Path | None,
    announce: bool,
    exit_with_parent: bool,
) -> None:
    """Fetch the model, or build an engine and serve it until told to end.

    Raises:
        UsageError: something is missing; the next step is in its hint.
    """
    cache = weights.cache_directory(os.environ)
    if fetch_model:
        if not weights.present(weights.SMOLLM2, cache):
            click.echo(f"fetching {weights.SMOLLM2.endpoint} …", err=True)
        click.echo(f"{weights.SMOLLM2.endpoint}: {weights.fetch(weights.SMOLLM2, cache)}", err=True)
        return
    if engine == "scripted":
        script = _module("qfbatch.server.scripted.service", "serve")
        served = script.open_service(ledger=ledger, token_seconds=token_seconds, environment=os.environ)
    else:
        # Threads that wait must sleep, or a busy neighbour costs the model most of its speed; read at load.
        os.environ.setdefault("OMP_WAIT_POLICY", "passive")
        system = None
        if model is None:
            if endpoint is not None:
                raise UsageError(
                    f"--endpoint names a model of your own; the default one is {weights.SMOLLM2.endpoint}",
                    hint="Leave --endpoint out, or give --model FILE.gguf too.",
                )
            if not weights.present(weights.SMOLLM2, cache):
                raise UsageError(
                    f"the model {weights.SMOLLM2.endpoint} has not been fetched yet",
                    hint="Run `qfbatch serve --fetch-model` once (98 MB), or give --model FILE.gguf.",
                )
            model, endpoint = weights.path_of(weights.SMOLLM2, cache), weights.SMOLLM2.endpoint
            system = weights.SMOLLM2.system
        llama = _module("qfbatch.server.llama", "local")
        settings = llama.LlamaSettings(
            model=model,
            endpoint=endpoint or model.stem.lower(),
            max_tokens=max_tokens,
            slots=slots,
            context=context,
            threads=threads,
            system=system,
        )
        plain = _module("qfbatch.server.service", "serve")
        served = plain.open_service(
            lambda: llama.LlamaEngine(settings), token_seconds=token_seconds, environment=os.environ
        )
    runtime = _module("qfbatch.server.runtime", "serve")
    sock = runtime.listen(host, port)
    base_url = runtime.base_url_of(sock)

    def ready() -> None:
        """Say where the server is, once it takes calls; for programs on stdout, where they ask for it."""
        if announce:
            _say({"base_url": base_url, "endpoints": list(served.endpoints)})
        click.echo(f"serving {', '.join(served.endpoints)} at {base_url}; end with Ctrl-C", err=True)

    try:
        runtime.run(served.app, sock, on_ready=ready, exit_with_parent=exit_with_parent)
    finally:
        served.close()


def _module(name: str, extra: str) -> Any:
    """A module that needs optional packages.

    Raises:
        UsageError: they are not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise UsageError(
            f"this needs a package that is not installed: {error.name or error}",
            hint=f"Install it with: pip install 'qfbatch[{extra}]'",
        ) from None


def _say(line: dict[str, Any]) -> None:
    """One JSON line on stdout, for the process that started this one."""
    sys.stdout.write(msgspec.json.encode(line).decode() + "\n")
    sys.stdout.flush()
