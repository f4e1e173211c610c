"""What an unquoted YAML value means: the core schema of YAML 1.2.

Not PyYAML's own YAML 1.1 rules: there `no` is false, `1:30` is ninety, `010` is eight and `1e3` is text, and
editors, which follow 1.2, would show something else than what is read.
"""

from __future__ import annotations

import re

_CONSTANTS: dict[str, bool | None] = {
    **dict.fromkeys(["", "~", "null", "Null", "NULL"], None),
    **dict.fromkeys(["true", "True", "TRUE"], True),
    **dict.fromkeys(["false", "False", "FALSE"], False),
}
_DECIMAL = re.compile(r"[-+]?[0-9]{1,400}")
_OCTAL = re.compile(r"0o[0-7]{1,400}")
_HEX = re.compile(r"0x[0-9a-fA-F]{1,400}")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_INFINITE = re.compile(r"[-+]?\.(inf|Inf|INF)")
_NAN = frozenset({".nan", ".NaN", ".NAN"})


def typed(text: str) -> str | int | float | bool | None:
    """The value an unquoted `text` stands for; what is nothing else is text."""
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if _DECIMAL.fullmatch(text):
        return int(text)
    if _OCTAL.fullmatch(text) or _HEX.fullmatch(text):
        return int(text, base=0)
    if _FLOAT.fullmatch(text) or _INFINITE.fullmatch(text) or text in _NAN:
        # float() knows `inf` and `nan` without YAML's dot; a number's own dot must stay.
        return float(text if text[-1] not in "fFnN" else text.replace(".", ""))
    return text
