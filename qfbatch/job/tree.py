"""A job file as a tree that remembers where everything stands."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

MAX_SHOWN_KEY = 40  # characters; longer ones are no keys anybody meant

Loc = tuple[str | int, ...]  # the way to a value from the top: ("models", 0, "endpoint")


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where something was written; places sort as a reader meets them.

    Attributes:
        line: from 1; what does not stand in the file sorts after it.
        label: as messages name it: `line 12`, `--set`.
    """

    line: int
    label: str


@dataclass(slots=True)
class Scalar:
    """A single value.

    Attributes:
        place: where it stands.
        text: as written, quotes and escapes resolved.
        plain: written without quotes, so that its text decides its type.
        value: what it means.
        substituted: the text came wholly from one `${NAME}`; where text is asked for, it stays text.
    """

    place: Place
    text: str
    plain: bool
    value: Any
    substituted: bool = False


@dataclass(slots=True)
class Items:
    """A list."""

    place: Place
    nodes: list[Node] = field(default_factory=list)


@dataclass(slots=True)
class Section:
    """A mapping. Keys are always text."""

    place: Place
    nodes: dict[str, Node] = field(default_factory=dict)
    key_places: dict[str, Place] = field(default_factory=dict)

    def put(self, key: str, place: Place, node: Node) -> None:
        """Set `key`, written at `place`."""
        self.nodes[key] = node
        self.key_places[key] = place


Node = Scalar | Items | Section


def to_data(node: Node) -> Any:
    """The tree as plain dicts, lists and values."""
    if isinstance(node, Scalar):
        return node.value
    if isinstance(node, Items):
        return [to_data(child) for child in node.nodes]
    return {key: to_data(child) for key, child in node.nodes.items()}


def mapping(owner: Any, key: str) -> dict[str, Any]:
    """The mapping under `key` of plain data; empty where there is none."""
    value = owner.get(key) if isinstance(owner, dict) else None
    return value if isinstance(value, dict) else {}


def mappings(owner: Any, key: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """The mappings listed under `key` of plain data, each with its position."""
    listed = owner.get(key) if isinstance(owner, dict) else None
    for index, value in enumerate(listed if isinstance(listed, list) else []):
        if isinstance(value, dict):
            yield index, value


def walk(node: Node, loc: Loc = ()) -> Iterator[tuple[Loc, Node]]:
    """Every node with the way to it, in reading order."""
    yield loc, node
    if isinstance(node, Items):
        for index, child in enumerate(node.nodes):
            yield from walk(child, (*loc, index))
    elif isinstance(node, Section):
        for key, child in node.nodes.items():
            yield from walk(child, (*loc, key))


def child_of(node: Node, step: str | int) -> Node | None:
    """What stands under `step`; None where nothing does."""
    if isinstance(node, Section) and isinstance(step, str):
        return node.nodes.get(step)
    if isinstance(node, Items) and isinstance(step, int) and step < len(node.nodes):
        return node.nodes[step]
    return None


def find(root: Node, loc: Loc) -> Node | None:
    """The node at `loc`; None where there is none."""
    node: Node | None = root
    for step in loc:
        node = None if node is None else child_of(node, step)
    return node


def place_of(root: Node, loc: Loc, *, key: bool = False) -> Place:
    """Where `loc` stands, or the nearest that contains it; with `key`, where its key stands."""
    node, place = root, root.place
    for step in loc:
        child = child_of(node, step)
        if child is None:
            break
        place = child.place
        if key and isinstance(node, Section) and isinstance(step, str):
            place = node.key_places[step]
        node = child
    return place


def spelled(loc: Loc) -> str:
    """The way as messages spell it: `models[0].parameters.temperature`; on one line, whatever the keys."""
    text = ""
    for step in loc:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            key = step if len(step) <= MAX_SHOWN_KEY and step.isprintable() else "…"
            text += f".{key}" if text else key
    return text
