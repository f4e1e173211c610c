"""A compiled server to measure against: nginx with Lua on loopback, one worker; and wrk, which asks it."""

from __future__ import annotations

import contextlib
import getpass
import os
import re
import shutil
import socket
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from .figures import Missing

ANSWER = (
    '{"id":"as-1","object":"completion","created":1700000000,"result":"ok","is_safe":1,'
    '"usage":{"prompt_tokens":4,"completion_tokens":1,"total_tokens":5}}'
)
EVENTS = 20
COMPLETIONS = "/rpc/2.0/ai_custom/v1/wenxinworkshop/completions"
MODULES = ("ndk_http_module.so", "ngx_http_lua_module.so")
PLACES = ("/usr/share/nginx/modules", "/usr/lib/nginx/modules", "/usr/lib64/nginx/modules")

_CONFIGURATION = """
{modules}
daemon off; {user} worker_processes 1; pid {folder}/pid; error_log {folder}/error.log;
events {{ worker_connections 4096; }}
http {{
  access_log off; keepalive_requests 1000000000; keepalive_timeout 300s;
  client_body_buffer_size 64k; client_body_in_single_buffer on;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location ~ /(tiny|chat/completions)$ {{ content_by_lua_block {{
      ngx.req.read_body()
      local answer = ngx.var.uri:find("chat", 1, true) and [==[{chat}]==] or [==[{answer}]==]
      ngx.header.content_type = "application/json"
      ngx.header.content_length = #answer
      ngx.print(answer)
    }} }}
    location ~ /stream$ {{ content_by_lua_block {{
      ngx.req.read_body()
      ngx.header.content_type = "text/event-stream"
      for n = 1, {events} do
        ngx.print('data: {{"id":"as-1","object":"completion","created":1700000000,"sentence_id":', n - 1,
          ',"is_end":', tostring(n == {events}), ',"result":"word ","is_safe":1,"usage":{{"prompt_tokens":4,',
          '"completion_tokens":', n, ',"total_tokens":', n + 4, '}}}}\\n\\n')
        ngx.flush(true)
      end
    }} }}
    location ~ /slow$ {{ content_by_lua_block {{
      ngx.req.read_body()
      ngx.sleep(tonumber(string.match(ngx.req.get_body_data(), "sleep ([%d.]+)")))
      ngx.header.content_type = "application/json"
      ngx.header.content_length = {length}
      ngx.print([==[{answer}]==])
    }} }}
  }}
}}
"""
_CHAT = (
    '{"id":"c-1","object":"chat.completion","created":1700000000,"model":"tiny","choices":[{"index":0,'
    '"message":{"role":"assistant","content":"ok"},"finish_reason":"stop"}],'
    '"usage":{"prompt_tokens":4,"completion_tokens":1,"total_tokens":5}}'
)


class Nginx:
    """The server, as a context manager. Endpoints: `tiny`, `stream` (20 events), `slow` (sleeps as asked).

    Args:
        folder: for its configuration and temporary files.
    """

    def __init__(self, folder: Path) -> None:
        self._program = _found("nginx", "nginx-extras")
        self._modules = [_module(name) for name in MODULES]
        self._folder = folder
        self._port = _free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def base_url(self) -> str:
        """What a job's `service.base_url` is to be."""
        return f"http://127.0.0.1:{self._port}"

    def wrk(self, seconds: int, *, endpoint: str = "tiny", connections: int = 64) -> float:
        """Requests a second that wrk makes of it."""
        return wrk(f"{self.base_url}{COMPLETIONS}/{endpoint}", self._folder, seconds, connections)

    def __enter__(self) -> Self:
        configuration = self._folder / "nginx.conf"
        configuration.write_text(
            _CONFIGURATION.format(
                modules="\n".join(f"load_module {path};" for path in self._modules),
                user=f"user {getpass.getuser()};" if os.geteuid() == 0 else "",
                folder=self._folder,
                port=self._port,
                answer=ANSWER,
                chat=_CHAT,
                length=len(ANSWER),
                events=EVENTS,
            ),
            encoding="utf-8",
        )
        log = self._folder / "error.log"
        self._process = subprocess.Popen(
            [self._program, "-c", str(configuration), "-e", str(log)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for _ in range(200):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self._port), 1):
                return self
            if self._process.poll() is not None:
                break
            time.sleep(0.05)
        self.__exit__(None, None, None)
        raise Missing(f"nginx does not start: {log.read_text(errors='replace').strip()[-300:]}")

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(10)


def wrk(url: str, folder: Path, seconds: int, connections: int = 64) -> float:
    """Requests a second that wrk makes of any server, one thread."""
    script = folder / "post.lua"
    script.write_text(
        'wrk.method = "POST"\nwrk.body = \'{"prompt":"prompt number 12345"}\'\n'
        'wrk.headers["Content-Type"] = "application/json"\n',
        encoding="utf-8",
    )
    done = subprocess.run(
        [_found("wrk", "wrk"), "-t1", f"-c{connections}", f"-d{seconds}s", "-s", str(script), url],
        capture_output=True,
        text=True,
        timeout=seconds + 30,
        check=True,
    )
    found = re.search(r"Requests/sec:\s+([\d.]+)", done.stdout)
    if found is None or "Non-2xx" in done.stdout:
        raise RuntimeError(f"wrk was not answered well:\n{done.stdout}")
    return float(found[1])


def _found(program: str, package: str) -> str:
    path = shutil.which(program) or shutil.which(program, path="/usr/sbin:/sbin")
    if path is None:
        raise Missing(f"{program} is not installed (Debian: apt install {package})")
    return path


def _module(name: str) -> Path:
    for place in PLACES:
        if (path := Path(place, name)).exists():
            return path
    raise Missing(f"nginx has no Lua: {name} was not found (Debian: apt install nginx-extras)")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
