"""An answer's headers as they are looked up: RFC 9110, section 5."""

from __future__ import annotations


def readable(received: dict[bytes, bytes]) -> dict[str, str]:
    """Headers by lower-case name, in ASCII: of several with one name the first, and none that is not ASCII.

    Args:
        received: names, as the service spells them, and values, in the order of their arrival.
    """
    last_first = reversed(received.items())
    try:
        return {name.lower().decode("ascii"): value.decode("ascii") for name, value in last_first}
    except UnicodeDecodeError:
        return readable({name: value for name, value in received.items() if (name + value).isascii()})
