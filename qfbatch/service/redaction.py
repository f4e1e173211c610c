"""Messages from outside, made fit to be shown: bounded, on one line, and without credentials.

Needs nothing but the standard library's regular expressions, so that also `qfbatch --help` can have it.
"""

from __future__ import annotations

import re

MAX_MESSAGE = 500

# Credentials as they appear in URLs, headers and JSON that servers and libraries echo in messages: the first
# group of each line stays, what follows is blanked. Compiled when first needed: most processes never do.
_SECRETS = r"""(?ix)
    (authorization["']?\s*[:=]\s*["']?) (?:(?:bearer|basic)\s+)? [^\s"',]+
    | ((?:access_token|refresh_token|client_secret|client_id|session_key|session_secret|secret_?key
        |api[_\x20-]?key(?:\s+\w+)?|access_?key|password|(?<![a-z])(?:ak|sk))
        (?:["']|%22)?\s*(?:=|:|%3d|%3a)\s*(?:["']|%22)?) [^&\s"',;}]+
    | (bearer\s+) [^\s"',]+
    | \b(sk-)(?=[\w*.-]*[0-9*])[\w*.-]{8,}  # a bearer key by its own beginning
    | (bce-auth-v1/|bce-v3/|\bALTAK-) [^\s"',]+
    | (://) [^/\s@]+ (?=@)
    | \b[0-9]{2}\.[0-9a-f]{32}\.[0-9]+\.[0-9]+(?:\.[\w-]+)?  # an access token by its own shape
    """
_READ_AHEAD = 8 * MAX_MESSAGE  # of a message's text, the most that is looked at


def _blanked(match: re.Match[str]) -> str:
    return ("" if match.lastindex is None else match[match.lastindex]) + "***"


def clean_message(message: str) -> str:
    """A message fit for logs and results: one line, bounded, credentials blanked out."""
    text = re.sub(_SECRETS, _blanked, message[:_READ_AHEAD])
    if not text.isprintable():  # line ends, terminal escapes, lone surrogates
        text = "".join(character if character.isprintable() else " " for character in text)
    text = " ".join(text.split())
    return text if len(text) <= MAX_MESSAGE else text[: MAX_MESSAGE - 1] + "…"
