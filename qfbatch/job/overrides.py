"""`--set KEY=VALUE`: single values of a job file replaced from the command line.

The key is a dotted path; an element of a list is named by its number from 0, a model also by its name. The
value is YAML. Values set this way are interpolated and checked like all others.
"""

from __future__ import annotations

from collections.abc import Sequence

from qfbatch.job.problems import NotReadable, Problem
from qfbatch.job.tree import Items, Node, Place, Scalar, Section
from qfbatch.job.yaml_lines import parse

SET = Place(1_000_000_000, "--set")  # after every line of the file


def apply_overrides(root: Section, overrides: Sequence[str]) -> list[Problem]:
    """Set each override in the tree, in their order; what cannot be set is returned as problems."""
    problems: list[Problem] = []
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals or not key.strip():
            problems.append(Problem(SET, "must be KEY=VALUE, as in --set limits.qps=5"))
            continue
        try:
            node, found = parse(text, lambda _line: SET)
        except NotReadable as error:
            # Only the message: its place is a line of the value.
            problems.append(Problem(SET, f"{key}: the value is {error.problem.message}"))
            continue
        problems.extend(found)
        message = _set(root, key.strip(), node or Scalar(SET, "", plain=True, value=None))
        if message:
            problems.append(Problem(SET, message))
    return problems


def _set(root: Section, key: str, value: Node) -> str | None:
    """Put `value` at `key`; the reason where there is no such place."""
    parent: Node = root
    done, rest = "", key
    while True:
        step, rest = _next_step(parent, rest)
        where = f"{done}.{step}" if done else str(step)
        if step == "":
            return f"{key}: the path has an empty part"
        if isinstance(parent, Items):
            if not isinstance(step, int) or step >= len(parent.nodes):
                return f"{key}: there is no {where}; {done} has {_range(parent)}"
            if not rest:
                parent.nodes[step] = value
                return None
            child = _opened(parent.nodes[step])
            parent.nodes[step] = child
            parent = child
        elif isinstance(parent, Section) and isinstance(step, str):
            if not rest:
                parent.put(step, SET, value)
                return None
            child = _opened(parent.nodes.get(step))
            if child is not parent.nodes.get(step):
                parent.put(step, SET, child)
            parent = child
        else:
            return f"{key}: {done} is a single value, nothing can be set below it"
        done = where


def _opened(node: Node | None) -> Node:
    """What to set something in: a new mapping where there is nothing yet."""
    return Section(SET) if node is None or (isinstance(node, Scalar) and node.value is None) else node


def _next_step(parent: Node, rest: str) -> tuple[str | int, str]:
    """The path's next step, and what follows it."""
    head, _, tail = rest.partition(".")
    if not isinstance(parent, Items):
        return head, tail
    if head.isascii() and head.isdigit() and len(head) < len(str(SET.line)):
        return int(head), tail
    # A name may hold dots itself (pythia-6.9b), so the names are tried, the longest first.
    names = {_name(node): index for index, node in reversed(list(enumerate(parent.nodes))) if _name(node)}
    for name in sorted(names, key=len, reverse=True):
        if rest == name or rest.startswith(f"{name}."):
            return names[name], rest[len(name) + 1 :]
    return head, tail


def _name(node: Node) -> str:
    name = node.nodes.get("name") if isinstance(node, Section) else None
    return name.text if isinstance(name, Scalar) else ""


def _range(items: Items) -> str:
    names = [name for name in map(_name, items.nodes) if name]
    if names:
        return ", ".join(names)
    return "no elements" if not items.nodes else f"the elements 0 to {len(items.nodes) - 1}"
