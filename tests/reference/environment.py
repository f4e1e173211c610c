"""Every variable of the environment that the package reads, found in its source, with its meaning."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from reference.markdown import code, table

PACKAGE = Path(__file__).resolve().parents[2] / "qfbatch"
NAME = re.compile(
    r"(?:QIANFAN|OPENAI|AWS|OTEL|QFBATCH|XDG|SSL|REQUESTS|NO|HTTPS?|ALL|RAY|OMP)_[A-Z][A-Z0-9_]*|TERM"
)

# Title → variables with their meanings; a name that ends with a star stands for all that begin so.
GROUPS: dict[str, dict[str, str]] = {
    "Credentials of the service": {
        "QIANFAN_ACCESS_KEY": "access key of the IAM signature (`auth: iam`); with the next",
        "QIANFAN_SECRET_KEY": "its secret key",
        "QIANFAN_AK": "API key of OAuth (`auth: oauth`); with the next",
        "QIANFAN_SK": "its secret key",
        "QIANFAN_ACCESS_TOKEN": "an access token fetched elsewhere (`auth: token`)",
        "QIANFAN_BEARER_TOKEN": "bearer key of Qianfan (`auth: bearer`)",
        "OPENAI_API_KEY": "bearer key of OpenAI, and of other addresses with `api: openai` or `openai-chat`",
        "QIANFAN_NO_AUTH": "`true`: with `auth: auto`, call without credentials where none are set",
    },
    "Addresses": {
        "QIANFAN_BASE_URL": "`service.base_url` of jobs with `api: qianfan` that state none",
        "OPENAI_BASE_URL": "the same with `api: openai` or `openai-chat`",
        "HTTPS_PROXY": "proxy for `https` addresses; lower case too, like the next three",
        "HTTP_PROXY": "proxy for `http` addresses",
        "ALL_PROXY": "proxy where the one above is not set",
        "NO_PROXY": "hosts to reach without a proxy; this machine never needs one",
        "SSL_CERT_FILE": "PEM file of certificate authorities to trust",
        "REQUESTS_CA_BUNDLE": "the same",
    },
    "Object storage": {
        "AWS_ACCESS_KEY_ID": "access key; with the next",
        "AWS_SECRET_ACCESS_KEY": "its secret key",
        "AWS_SESSION_TOKEN": "of temporary credentials",
        "AWS_REGION": "region; `us-east-1` where neither is set",
        "AWS_DEFAULT_REGION": "the same",
        "AWS_ENDPOINT_URL_S3": "address of a store that is not AWS's own; `http://` only where it says so",
        "AWS_ENDPOINT_URL": "the same, where the one above is not set",
        "AWS_VIRTUAL_HOSTED_STYLE_REQUEST": "`true`: the bucket stands in the host's name",
        "AWS_REQUEST_PAYER": "`true`: this account pays for requests",
        "AWS_SKIP_SIGNATURE": "`true`: requests are not signed",
        "AWS_WEB_IDENTITY_TOKEN_FILE": "credentials of a web identity; with the next two",
        "AWS_ROLE_ARN": "its role",
        "AWS_ROLE_SESSION_NAME": "its session's name",
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "credentials of a container service",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI": "the same",
        "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": "the token to ask it with",
    },
    "Ray": {
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "set to `0` while Ray starts: a local one is on loopback only",
        "RAY_USE_TLS": "`1` or `true`: the cluster's head is spoken to by TLS, as Ray does then",
        "RAY_USAGE_STATS_ENABLED": "set to `0` where qfbatch starts Ray: nothing is reported to anybody",
    },
    "OpenTelemetry": {
        "OTEL_EXPORTER_OTLP_ENDPOINT": "where spans and metrics go; any of the first five turns `--otel` on",
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "where spans go",
        "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "where metrics go",
        "OTEL_TRACES_EXPORTER": "`otlp`, `console` or `none`",
        "OTEL_METRICS_EXPORTER": "likewise",
        "OTEL_SDK_DISABLED": "`true` turns it off",
        "OTEL_SERVICE_NAME": "`service.name`; `qfbatch` by default",
        "OTEL_EXPORTER_OTLP_PROTOCOL": "`http/protobuf`; any other is refused",
        "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "likewise",
        "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL": "likewise",
        "OTEL_*": "all others are read by OpenTelemetry's own SDK",
    },
    "The local server": {
        "QFBATCH_SERVE_ACCESS_KEY": "with the next: the V1 keys that `qfbatch serve` demands",
        "QFBATCH_SERVE_SECRET_KEY": "its secret key",
        "QFBATCH_SERVE_BEARER_KEYS": "bearer keys it demands, separated by commas",
        "QFBATCH_CACHE_DIR": "folder of the embedded model",
        "XDG_CACHE_HOME": "where that folder is by default (`~/.cache`)",
        "OMP_WAIT_POLICY": "how the embedded model's idle threads wait; `passive` unless it is set",
    },
    "Terminal and troubles": {
        "NO_COLOR": "set to anything: no colour",
        "TERM": "`dumb`: no colour, and nothing is redrawn in place",
        "QFBATCH_TRACEBACK": "set to anything: a fault of qfbatch itself shows its traceback",
        "QFBATCH_FAULTPOINT": "for tests: die at a named point of a commit",
    },
}

INTRODUCTION = """\
Variables of the environment, or lines of a `.env` file in the working directory, which the environment
overrides (credentials, addresses and object storage; the others from the environment alone). A job file can
read any other as `${NAME}`, and name the one with its bearer key by `service.key_env`. An empty variable
counts as not set."""


def page() -> str:
    """The variables by what they are for."""
    said = {name for group in GROUPS.values() for name in group if not name.endswith("*")}
    found = read()
    missing, gone = sorted(found - said), sorted(said - found)
    assert not missing, f"tests/reference/environment.py does not say what {missing} are for"
    assert not gone, f"tests/reference/environment.py has {gone}, which the package does not read"
    blocks = [INTRODUCTION]
    for title, variables in GROUPS.items():
        blocks += [
            f"## {title}",
            table(["variable", ""], ([code(name), text] for name, text in variables.items())),
        ]
    return "\n\n".join(blocks)


def read() -> set[str]:
    """The names of variables that stand as texts in the package's source."""
    return {
        node.value
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and NAME.fullmatch(node.value)
    }
