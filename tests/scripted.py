"""A scripted server for tests of any module: one process, asked over real HTTP.

    from scripted import ScriptedServer

    @pytest.fixture(scope="session")
    def server() -> Iterator[ScriptedServer]:
        with ScriptedServer() as running:
            yield running

Tests that share a server keep apart by an endpoint of their own: `server.endpoint("echo")`.
"""

from __future__ import annotations

import itertools
import json
import os
import urllib.parse
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from qfbatch.server.embedded import EmbeddedServer

COMPLETIONS = "/rpc/2.0/ai_custom/v1/wenxinworkshop/completions/"
_tags = itertools.count(1)


class ScriptedServer:
    """A scripted server process.

    Args:
        keys: access and secret key to demand; None accepts any credentials, unless `bearer` is given.
        bearer: keys to demand in `Authorization: Bearer …`; any of them is good.
        ledger: file that completed answers are appended to.
        options: further options of `qfbatch serve`.
    """

    def __init__(
        self,
        *,
        keys: tuple[str, str] | None = None,
        bearer: tuple[str, ...] = (),
        ledger: Path | None = None,
        options: tuple[str, ...] = (),
    ) -> None:
        environment = dict(os.environ)
        for name in ("QFBATCH_SERVE_ACCESS_KEY", "QFBATCH_SERVE_SECRET_KEY", "QFBATCH_SERVE_BEARER_KEYS"):
            environment.pop(name, None)
        if bearer:
            environment["QFBATCH_SERVE_BEARER_KEYS"] = ",".join(bearer)
        if keys is not None:
            environment["QFBATCH_SERVE_ACCESS_KEY"], environment["QFBATCH_SERVE_SECRET_KEY"] = keys
        if ledger is not None:
            options = ("--ledger", str(ledger), *options)
        self._server = EmbeddedServer(engine="scripted", options=options, environment=environment)

    @property
    def base_url(self) -> str:
        """What a job's `service.base_url` is to be."""
        return self._server.base_url

    @property
    def pid(self) -> int:
        """The server's process id."""
        return self._server.pid

    @staticmethod
    def endpoint(script: str = "echo") -> str:
        """The endpoint with a tag that no other call of this test process has."""
        return f"{script},tag=t{os.getpid()}x{next(_tags)}"

    def url(self, endpoint: str) -> str:
        """The completions URL of an endpoint."""
        return self.base_url + COMPLETIONS + urllib.parse.quote(endpoint, safe=",=")

    def ask(
        self, endpoint: str, body: Mapping[str, Any] | bytes, *, query: str = "", **headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        """One V1 call: status, headers with lower-case names, body.

        Raises:
            OSError, http.client.HTTPException: the server broke the connection.
        """
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        return fetch(self.url(endpoint) + query, data, headers)

    def post(
        self, path: str, body: Mapping[str, Any] | bytes, **headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        """One call to any path, such as `/v2/completions`: status, headers with lower-case names, body.

        Raises:
            OSError, http.client.HTTPException: the server broke the connection.
        """
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        return fetch(self.base_url + path, data, headers)

    def calls(self, endpoint: str) -> dict[str, tuple[int, int]]:
        """Per prompt: calls received and answers completed, that is, paid."""
        return {
            row["prompt"]: (row["calls"], row["answered"]) for row in self._report(endpoint).get("calls", [])
        }

    def traffic(self, endpoint: str) -> dict[str, Any]:
        """`calls`, `refused`, `in_flight`, `in_flight_max`, `arrivals` (monotonic seconds)."""
        seen: dict[str, Any] = self._report(endpoint)["endpoints"].get(endpoint, {})
        return seen

    def _report(self, endpoint: str) -> dict[str, Any]:
        query = urllib.parse.urlencode({"endpoint": endpoint})
        report: dict[str, Any] = json.loads(fetch(f"{self.base_url}/_scripted/calls?{query}")[2])
        return report

    def reset(self) -> None:
        """Forget all counts and quotas."""
        fetch(f"{self.base_url}/_scripted/reset", b"")

    def revoke_tokens(self) -> int:
        """Make every token issued so far invalid; returns how many were good."""
        revoked: int = json.loads(fetch(f"{self.base_url}/_scripted/revoke-tokens", b"")[2])["revoked"]
        return revoked

    def start(self) -> Self:
        """Start the process."""
        self._server.start()
        return self

    def close(self) -> None:
        """End the process."""
        self._server.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class _AnyStatus(urllib.request.HTTPErrorProcessor):
    """Lets every status through as an answer."""

    def http_response(self, request: urllib.request.Request, response: Any) -> Any:
        """The answer as it came."""
        return response


_opener = urllib.request.build_opener(_AnyStatus, urllib.request.ProxyHandler({}))


def fetch(
    url: str, data: bytes | None = None, headers: Mapping[str, str] | None = None
) -> tuple[int, dict[str, str], bytes]:
    """One HTTP call: GET without data, POST with; status, headers with lower-case names, body."""
    request = urllib.request.Request(url, data, dict(headers or {}))
    with _opener.open(request, timeout=30) as response:
        names = {name.lower(): value for name, value in response.headers.items()}
        return response.status, names, response.read()
