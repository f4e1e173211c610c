"""YAML text → a tree with line numbers.

Built from the parser's events, not by PyYAML's composer: that recurses, loses the line of a key, lets a later
duplicate win in silence, and expands aliases without bound.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import yaml
from yaml import events

from qfbatch.job.problems import NotReadable, Problem
from qfbatch.job.secrets import quoted_key
from qfbatch.job.tree import Items, Node, Place, Scalar, Section
from qfbatch.job.yaml_scalars import typed

MAX_DEPTH = 40  # a job file is five deep; `extra` may nest
MAX_NODES = 50_000  # after aliases are expanded
_MERGE = "<<"
_TEXT_TAGS = frozenset({"!", "tag:yaml.org,2002:str"})
_KNOWN_TAGS = _TEXT_TAGS | {None, "tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"}

PlaceAt = Callable[[int], Place]  # line from 1 → its place


def line_place(line: int) -> Place:
    """The place of a line of the job file."""
    return Place(line, f"line {line}")


def parse(text: str, place_at: PlaceAt = line_place) -> tuple[Node | None, list[Problem]]:
    """Read one YAML document.

    Args:
        text: the document.
        place_at: how places are named; the value of `--set` stands in no file.

    Returns:
        The tree (None where the text holds no document) and problems that do not end reading: duplicate keys,
        tags, keys that are no text.

    Raises:
        NotReadable: not YAML, more than one document, nested too deeply, too large once aliases are expanded.
    """
    builder = _Builder(place_at)
    try:
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            builder.take(event)
    except yaml.MarkedYAMLError as error:
        raise NotReadable(_syntax_problem(error, place_at)) from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        # Reading text, PyYAML gives the character's number; its stubs say otherwise.
        message = f"not valid YAML: the character U+{int(error.character):04X} is not allowed"
        raise NotReadable(Problem(place_at(line), message)) from error
    except (ValueError, OverflowError) as error:
        # PyYAML lets chr() and int() raise on escapes and directives with absurd numbers.
        message = "not valid YAML: a number in an escape (\\U…) or directive is out of range"
        raise NotReadable(Problem(builder.last_place, message)) from error
    return builder.root, builder.problems


def _syntax_problem(error: yaml.MarkedYAMLError, place_at: PlaceAt) -> Problem:
    mark = error.problem_mark or error.context_mark
    detail = error.problem or error.context or "it ends unexpectedly"
    # PyYAML quotes tag handles and the like; what it quotes beyond one character may be anything.
    if "tag handle" in detail:
        detail = "found an undefined tag handle"
    if "\\t" in detail:
        detail += " (YAML is indented with spaces)"
    if mark is None:
        return Problem(place_at(1), f"not valid YAML: {detail}")
    place = place_at(mark.line + 1)
    return Problem(Place(place.line, f"{place.label}, column {mark.column + 1}"), f"not valid YAML: {detail}")


@dataclass(slots=True)
class _Open:
    """A list or mapping whose end has not been read."""

    node: Items | Section
    anchor: str | None
    key: str | None = None
    key_place: Place | None = None
    skip: bool = False  # the pending key was refused: read its value and drop it
    merges: list[Section] = field(default_factory=list)

    @property
    def wants_key(self) -> bool:
        """Whether the next scalar here is a key: in a mapping, after a whole pair."""
        return isinstance(self.node, Section) and self.key is None


class _Builder:
    """Takes events in order and grows the tree, without recursion."""

    def __init__(self, place_at: PlaceAt) -> None:
        self.root: Node | None = None
        self.problems: list[Problem] = []
        self.last_place = place_at(1)
        self._place_at = place_at
        self._open: list[_Open] = []
        self._anchors: dict[str, Node] = {}
        self._documents = 0
        self._nodes = 0

    def take(self, event: events.Event) -> None:
        """Take the parser's next event."""
        place = self.last_place = self._place_at(
            event.start_mark.line + 1 if event.start_mark is not None else 1
        )
        if isinstance(event, events.DocumentStartEvent):
            self._documents += 1
            if self._documents > 1:
                raise NotReadable(Problem(place, "a second YAML document starts here; a job file is one"))
        elif isinstance(event, events.AliasEvent):
            original = self._anchors.get(event.anchor or "")
            if original is None:
                raise NotReadable(Problem(place, "this alias (*) names no complete anchor (&) above it"))
            self._attach(self._copy(original, len(self._open)), place)
        elif isinstance(event, events.ScalarEvent):
            self._take_scalar(event, place)
        elif isinstance(event, events.MappingStartEvent | events.SequenceStartEvent):
            self._count(place, len(self._open))
            self._check_tag(event.tag, place)
            node = Section(place) if isinstance(event, events.MappingStartEvent) else Items(place)
            self._open.append(_Open(node, event.anchor))
        elif isinstance(event, events.MappingEndEvent | events.SequenceEndEvent):
            done = self._open.pop()
            _merge(done)
            if done.anchor is not None:
                self._anchors[done.anchor] = done.node
            self._attach(done.node, done.node.place)

    def _take_scalar(self, event: events.ScalarEvent, place: Place) -> None:
        self._count(place, len(self._open))
        self._check_tag(event.tag, place)
        plain = event.style is None and event.tag not in _TEXT_TAGS
        if not event.value.isascii() and any("\ud800" <= c <= "\udfff" for c in event.value):
            self.problems.append(
                Problem(place, "an escape (\\u…) gives half a character, which cannot be sent")
            )
        scalar = Scalar(place, event.value, plain, typed(event.value) if plain else event.value)
        if event.anchor is not None:
            self._anchors[event.anchor] = scalar
        self._attach(scalar, place)

    def _attach(self, node: Node, place: Place) -> None:
        if not self._open:
            self.root = node
            return
        top = self._open[-1]
        if isinstance(top.node, Items):
            top.node.nodes.append(node)
        elif top.wants_key:
            self._start_key(top, node, place)
        else:
            self._end_key(top, node)

    def _start_key(self, top: _Open, node: Node, place: Place) -> None:
        top.key_place = place
        if not isinstance(node, Scalar):
            top.key, top.skip = "", True
            self.problems.append(Problem(place, "a key must be text, not a list or mapping"))
            return
        top.key = node.text
        if isinstance(top.node, Section) and node.text in top.node.nodes:
            first = top.node.key_places[node.text].label
            self.problems.append(Problem(place, f"{quoted_key(node.text)} is given twice; first on {first}"))
            top.skip = True

    def _end_key(self, top: _Open, node: Node) -> None:
        if top.key == _MERGE:
            sections = node.nodes if isinstance(node, Items) else [node]
            top.merges.extend(section for section in sections if isinstance(section, Section))
            if not all(isinstance(section, Section) for section in sections):
                self.problems.append(Problem(node.place, "<< takes a mapping, or a list of mappings"))
        elif not top.skip and isinstance(top.node, Section) and top.key is not None and top.key_place:
            top.node.put(top.key, top.key_place, node)
        top.key, top.key_place, top.skip = None, None, False

    def _copy(self, node: Node, depth: int) -> Node:
        """A copy of an anchored node: an override of one use must not change the others."""
        self._count(node.place, depth)
        if isinstance(node, Scalar):
            return Scalar(node.place, node.text, node.plain, node.value)
        if isinstance(node, Items):
            return Items(node.place, [self._copy(child, depth + 1) for child in node.nodes])
        nodes = {key: self._copy(child, depth + 1) for key, child in node.nodes.items()}
        return Section(node.place, nodes, dict(node.key_places))

    def _count(self, place: Place, depth: int) -> None:
        self._nodes += 1
        if depth >= MAX_DEPTH:
            raise NotReadable(Problem(place, f"nested more than {MAX_DEPTH} levels deep"))
        if self._nodes > MAX_NODES:
            raise NotReadable(Problem(place, f"more than {MAX_NODES} values, aliases expanded"))

    def _check_tag(self, tag: str | None, place: Place) -> None:
        if tag not in _KNOWN_TAGS:
            self.problems.append(Problem(place, "tags (!…) have no meaning in a job file"))


def _merge(done: _Open) -> None:
    """Apply `<<`: what the mapping itself says wins, then the first of the merged ones."""
    if not isinstance(done.node, Section):
        return
    for section in done.merges:
        for key, node in section.nodes.items():
            if key not in done.node.nodes:
                done.node.put(key, section.key_places[key], node)
