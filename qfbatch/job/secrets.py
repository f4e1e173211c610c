"""Secrets do not belong in a job file: it is committed, shared and copied into the manifest.

Keys that name a credential and values that look like one are refused. No message repeats a value.
"""

from __future__ import annotations

import re

from qfbatch.job.problems import Findings
from qfbatch.job.tree import MAX_SHOWN_KEY, Scalar, Section, walk

_WHERE = "put it into the environment or .env as"

# Key, its words joined → the variable that takes the credential's place.
_KEYS = {
    "accesskey": "QIANFAN_ACCESS_KEY",
    "accesskeyid": "QIANFAN_ACCESS_KEY",
    "secretkey": "QIANFAN_SECRET_KEY",
    "secretaccesskey": "QIANFAN_SECRET_KEY",
    "ak": "QIANFAN_AK",
    "clientid": "QIANFAN_AK",
    "sk": "QIANFAN_SK",
    "clientsecret": "QIANFAN_SK",
    "secret": "QIANFAN_SK",
    "token": "QIANFAN_ACCESS_TOKEN",
    "accesstoken": "QIANFAN_ACCESS_TOKEN",
    "authtoken": "QIANFAN_ACCESS_TOKEN",
    "refreshtoken": "QIANFAN_ACCESS_TOKEN",
    "sessiontoken": "QIANFAN_ACCESS_TOKEN",
    "bearer": "QIANFAN_BEARER_TOKEN",
    "bearertoken": "QIANFAN_BEARER_TOKEN",
    "apikey": "QIANFAN_BEARER_TOKEN",
    "apitoken": "QIANFAN_BEARER_TOKEN",
    "authorization": "QIANFAN_BEARER_TOKEN",
    "credential": "QIANFAN_ACCESS_KEY and QIANFAN_SECRET_KEY",
    "credentials": "QIANFAN_ACCESS_KEY and QIANFAN_SECRET_KEY",
    "password": "QIANFAN_SECRET_KEY",
    "passwd": "QIANFAN_SECRET_KEY",
    "passphrase": "QIANFAN_SECRET_KEY",
    "privatekey": "QIANFAN_SECRET_KEY",
}
# These are credentials only as a whole key: `stop_token` and `batch_sk` are other things.
_WHOLE_ONLY = frozenset({"token", "ak", "sk", "bearer", "clientid"})
_PREFIXES = frozenset({"qianfan", "x", "baidu", "bce", "openai", "wenxin", "ernie", "iam", "oauth"})

# What a value looks like → the variable that takes its place; empty where the place is simply wrong.
_VALUES = (
    (re.compile(r"bce-v3/[A-Za-z0-9]"), "QIANFAN_BEARER_TOKEN"),
    (re.compile(r"\bbce-auth-v1/[A-Za-z0-9]"), "QIANFAN_ACCESS_KEY and QIANFAN_SECRET_KEY"),
    (re.compile(r"\bALTAK[A-Za-z0-9-]{4,}"), "QIANFAN_ACCESS_KEY"),
    (re.compile(r"(?<![A-Za-z0-9])sk-[A-Za-z0-9_-]{12,}"), "QIANFAN_BEARER_TOKEN"),
    # With a digit: "bearer securities" is prose.
    (re.compile(r"\bbearer\s+(?=[^\s\d]*\d)[A-Za-z0-9._~+/=-]{6,}", re.IGNORECASE), "QIANFAN_BEARER_TOKEN"),
    (re.compile(r"\baccess_token=[^\s&{$]", re.IGNORECASE), "QIANFAN_ACCESS_TOKEN"),
    (re.compile(r"\bclient_secret=[^\s&{$]", re.IGNORECASE), "QIANFAN_SK"),
    (re.compile(r"://[^/\s?#@]+@"), "QIANFAN_AK and QIANFAN_SK"),
)


def refuse_secrets(findings: Findings) -> None:
    """Record every key that names a credential and every value that looks like one."""
    for loc, node in walk(findings.root):
        if isinstance(node, Section):
            for key in node.nodes:
                variable = _variable_of_key(key)
                if variable:
                    message = f"a credential does not belong in the job file; {_WHERE} {variable}"
                    findings.add((*loc, key), message, key=True)
                elif _variable_of_value(key):
                    # Named by its section: the key is itself the secret.
                    message = f"a key here looks like a credential; {_WHERE} {_variable_of_value(key)}"
                    findings.add((*loc, key), message, key=True, named=False)
        elif isinstance(node, Scalar):
            variable = _variable_of_value(node.text)
            if variable:
                message = f"the value looks like a credential; {_WHERE} {variable}"
                findings.add(loc, message)


def reads_secret(name: str) -> bool:
    """Whether an environment variable of this name holds a credential."""
    last = name.lower().rsplit("_", 1)[-1]
    return bool(_variable_of_key(name)) or last in {"token", "key", "ak", "sk", "secret", "password"}


def refusal_of_reference(name: str) -> str:
    """Why a reference to the credential `name` is refused."""
    return (
        f"{name} names a credential, which would be copied into the run's records; leave it out of the "
        "job file: credentials are read from the environment or .env by themselves"
    )


def quoted_key(key: str) -> str:
    """A key for a message, unless it may be a value in the wrong place."""
    fit = len(key) <= MAX_SHOWN_KEY and key.isprintable() and not looks_secret(key)
    return f'"{key}"' if fit else "(not shown)"


def looks_secret(text: str) -> bool:
    """Whether `text` holds what looks like a credential."""
    return bool(_variable_of_value(text))


def _variable_of_key(key: str) -> str:
    """The variable that takes the place of a credential's key; empty where the key names none."""
    spaced = re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", key[:100])
    words = [word for word in re.split(r"[^a-z0-9]+", spaced.lower()) if word]
    while len(words) > 1 and words[0] in _PREFIXES:
        words.pop(0)
    whole = "".join(words)
    if whole in _KEYS:
        return _KEYS[whole]
    for length in (3, 2, 1):
        tail = "".join(words[-length:])
        if tail in _KEYS and tail not in _WHOLE_ONLY:
            return _KEYS[tail]
    return ""


def _variable_of_value(text: str) -> str:
    return next((variable for pattern, variable in _VALUES if pattern.search(text)), "")
