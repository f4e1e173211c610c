"""What single values of a job file must be, beyond type and range.

Each function takes a value and returns it, or raises ValueError with the end of a sentence that starts with
the key.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any
from urllib.parse import urlsplit

from qfbatch.errors import UsageError
from qfbatch.job.settings import BUILT_IN_SCORERS, LOCAL, NORMALISATIONS
from qfbatch.service.dialects import DIALECTS, dialect_named
from qfbatch.service.parameters import shown
from qfbatch.storage.address import SCHEME, parse_address
from qfbatch.template import Template, TemplateError

AUTHS = ("auto", "iam", "oauth", "token", "bearer", "none")
_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]*")
_MAX_NAME_BYTES = 150  # file systems end at 255, and names are added to
_FORBIDDEN = re.compile(r'[/\\:*?"<>|]')
_RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", re.IGNORECASE)
_FUNCTION = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*")
_CONVERSION = re.compile(r"!\w$|\[.*\]$")


def printable(text: str) -> str:
    """Text for one line: nothing invisible, no blanks at its ends."""
    if not text.isprintable():
        raise ValueError("must not hold line breaks or control characters")
    if text != text.strip():
        raise ValueError("must not start or end with a blank")
    return text


def file_name(text: str) -> str:
    """A name that can be part of a path on any system."""
    if found := _FORBIDDEN.search(text):
        raise ValueError(f'names a directory, so it must not hold "{found[0]}"')
    if text.startswith((".", "-")) or text.endswith(".") or _RESERVED.fullmatch(text):
        raise ValueError(f"names a directory, which cannot be called {shown(text)}")
    if len(text.encode()) > _MAX_NAME_BYTES:
        raise ValueError(f"names a directory, so it must have at most {_MAX_NAME_BYTES} bytes")
    return text


def listed(value: Any) -> Any:
    """One text as a list of one; a list as it is."""
    if not isinstance(value, str | list):
        raise ValueError(f"must be text or a list of texts, not {shown(value)}")  # noqa: TRY004 - for pydantic
    return [value] if isinstance(value, str) else value


def path(text: str) -> str:
    """A path on this machine, or in object storage."""
    if text.lower().startswith(SCHEME):
        try:
            parse_address(text)
        except UsageError as error:
            raise ValueError("not an address in object storage; write s3://bucket/prefix") from error
    elif "://" in text:  # as a path it would be a folder called `gs:` here
        raise ValueError("neither a local path nor object storage; write a path or s3://bucket/prefix")
    return text


def template(text: str) -> str:
    """A template that can be read and reads at least one column."""
    if not _fields(text):
        raise ValueError("reads no column, so all prompts would be the same; name one as {column}")
    return text


def system(text: str) -> str:
    """A template that can be read; the same text for all rows is what it mostly is."""
    _fields(text)
    if not text.strip():
        raise ValueError("must not be blank")
    return text


def _fields(text: str) -> tuple[str, ...]:
    try:
        fields = Template(text).fields
    except TemplateError as error:
        raise ValueError(str(error).removeprefix("template: ")) from error
    for name in fields:
        if found := _CONVERSION.search(name):
            raise ValueError(f'between braces stands a column\'s name alone, without "{found[0][:20]}"')
    return fields


def api(text: str) -> str:
    """A dialect there is; a package may have brought it."""
    try:
        dialect_named(text)
    except KeyError:
        *first, last = DIALECTS
        raise ValueError(f"must be {', '.join(first)} or {last}, not {shown(text)}") from None
    return text


def nearest_of(text: str, known: Sequence[str]) -> str:
    """`did you mean …?` where one of the known texts is near; else empty."""
    nearest = get_close_matches(text, known, n=1)
    return f'did you mean "{nearest[0]}"?' if nearest else ""


def auth(text: str) -> str:
    """A way to authorise calls there is."""
    if text in AUTHS:
        return text
    nearest = get_close_matches(text, AUTHS, n=1)
    end = f'; did you mean "{nearest[0]}"?' if nearest else ""
    raise ValueError(f"must be {', '.join(AUTHS[:-1])} or {AUTHS[-1]}, not {shown(text)}{end}")


def variable(text: str) -> str:
    """The name of an environment variable, in capitals as they are by custom.

    What is refused is not repeated: it may be the key itself.
    """
    if not _VARIABLE.fullmatch(text):
        raise ValueError("must be the name of an environment variable in capitals, such as MY_KEY, not a key")
    return text


def base_url(text: str) -> str:
    """`local`, or an http(s) URL of scheme, host and perhaps a path prefix; a last slash is dropped."""
    if text == LOCAL:
        return text
    try:
        parts = urlsplit(text)
        port_is_fine = parts.port is None or parts.port > 0
    except ValueError:
        parts, port_is_fine = urlsplit(""), False
    if parts.scheme not in {"http", "https"} or not parts.hostname or not port_is_fine:
        raise ValueError("must be a URL such as https://aip.baidubce.com, or local")
    if parts.username is not None or parts.password is not None:
        raise ValueError("must not hold credentials; they come from the environment or .env")
    if "?" in text or "#" in text:
        raise ValueError('must end before any "?" or "#"')
    if not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError("must be ASCII without blanks")
    return text.rstrip("/")


def currency(text: str) -> str:
    """A three-letter code."""
    if not re.fullmatch(r"[A-Z]{3}", text):
        raise ValueError(f"must be three capital letters such as CNY, not {shown(text)}")
    return text


def scorer(text: str) -> str:
    """A scorer there is, or a function of the user's own."""
    if text in BUILT_IN_SCORERS or _FUNCTION.fullmatch(text):
        return text
    nearest = get_close_matches(text, BUILT_IN_SCORERS, n=1)
    end = f'; did you mean "{nearest[0]}"?' if nearest else ""
    raise ValueError(
        f"must be {', '.join(BUILT_IN_SCORERS)} or a function as module:function, not {shown(text)}{end}"
    )


def normalisation(text: str) -> str:
    """A step of evening texts out there is."""
    if text in NORMALISATIONS:
        return text
    nearest = get_close_matches(text, NORMALISATIONS, n=1)
    end = f'; did you mean "{nearest[0]}"?' if nearest else ""
    *first, last = NORMALISATIONS
    raise ValueError(f"must be {', '.join(first)} or {last}, not {shown(text)}{end}")


def pattern(text: str) -> str:
    """A regular expression as Python has them."""
    try:
        re.compile(text)
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"is no regular expression: {error}") from error
    return text
