"""The job file's keys, from its JSON Schema and the dialects' own tables of parameters."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from qfbatch.job.document import json_schema
from qfbatch.service.dialects import DIALECTS
from qfbatch.service.parameters import RefusedRule
from reference.markdown import code, table

Schema = dict[str, Any]
# What stands under a name of the user's own.
ANY_NAME = "NAME"

INTRODUCTION = """\
Where no default stands, nothing is in force unless it is given. `null` counts as not given. Every value may
be written as `${NAME}` or `${NAME:-default}`, from the environment or `.env`. Keys that are not here are
errors. Editors take all of it from [job.schema.json](../job.schema.json), which `qfbatch schema` prints.
Paths are relative to the working directory. Meanings at length: [input](../input.md),
[limits](../limits.md), [failures](../failures.md), [dialects](../dialects.md)."""
PARAMETERS = """\
Body fields beside the prompt: for all models, for a model, or in a row's own `parameters` column; the
narrower one wins. A field that a dialect does not know goes under `extra`, a mapping that is sent as is."""


def page() -> str:
    """A table of keys for every section, then the parameters of every dialect."""
    schema = json_schema()
    places: dict[str, list[str]] = {}
    for place, section in _sections(schema, schema, ""):
        places.setdefault(section, []).append(place)
    blocks = [
        INTRODUCTION,
        "## The file",
        _keys(schema),
    ]
    for section, where in places.items():
        node = schema["$defs"][section]
        blocks += [f"## {', '.join(where)}", node["description"], _keys(node)]
    return "\n\n".join([*blocks, "## parameters", *_parameters()])


def _sections(schema: Schema, section: Schema, path: str) -> Iterator[tuple[str, str]]:
    """Where each section stands, `models.price`, and its name in the schema; depth first."""
    for name, node in section["properties"].items():
        for kind, key in _referenced(node):
            place = f"{path}{name}" + (f".{ANY_NAME}" if key else "")
            yield place, kind
            yield from _sections(schema, schema["$defs"][kind], f"{place}.")


def _referenced(node: Schema, *, mapped: bool = False) -> Iterator[tuple[str, bool]]:
    """Sections that a node may hold, and whether under names of the user's own."""
    if "$ref" in node:
        yield node["$ref"].rpartition("/")[2], mapped
    for part in node.get("anyOf", ()):
        yield from _referenced(part, mapped=mapped)
    if "items" in node:
        yield from _referenced(node["items"], mapped=mapped)
    if isinstance(node.get("additionalProperties"), dict):
        yield from _referenced(node["additionalProperties"], mapped=True)


def _keys(section: Schema) -> str:
    required = section.get("required", ())
    return table(
        ["key", "value", "default", ""],
        (
            [
                code(name),
                type_of(node),
                "required" if name in required else _default(node),
                node.get("description", ""),
            ]
            for name, node in section["properties"].items()
        ),
    )


def _default(node: Schema) -> str:
    default = node.get("default")
    if isinstance(default, float):
        return code(f"{default:g}")
    return "" if default is None else code(default if isinstance(default, str) else json.dumps(default))


def type_of(node: Schema) -> str:
    """What a node of the schema allows, in words."""
    if "anyOf" in node:
        kinds = [type_of(part) for part in node["anyOf"] if not _silent(part)]
        return " or ".join(dict.fromkeys(kind for kind in kinds if kind))
    if "$ref" in node or "enum" in node:
        return ", ".join(code(value) for value in node.get("enum", ())) or "section"
    kinds = node.get("type", [])
    kind = next((kind for kind in ([kinds] if isinstance(kinds, str) else kinds) if kind != "null"), "")
    if kind == "array":
        return f"list of {_many(type_of(node.get('items', {})))}" + _most(node)
    if kind == "object":
        return _mapping(node)
    word = {"string": "text", "integer": "whole number", "number": "number", "boolean": "true or false"}[kind]
    if "maxLength" in node:
        word += f" of at most {node['maxLength']} characters"
    return word + _range(node)


def _mapping(node: Schema) -> str:
    mapped = node.get("additionalProperties")
    if isinstance(mapped, dict) and mapped:
        return f"{_many(type_of(mapped))} by name"
    return "see [parameters](#parameters)" if "properties" in node else "mapping"


def _silent(part: Schema) -> bool:
    """Parts that are the same for all keys: null, and a reference to the environment."""
    return part.get("type") == "null" or str(part.get("pattern", "")).startswith(r"^\$\{")


def _many(word: str) -> str:
    plural = {"section": "sections", "text": "texts", "whole number": "whole numbers"}
    return word.replace("text of", "texts of") if word.startswith("text of") else plural.get(word, word)


def _most(node: Schema) -> str:
    return f", at most {node['maxItems']}" if "maxItems" in node else ""


def _range(node: Schema) -> str:
    low = f"≥ {node['minimum']:,.12g}" if "minimum" in node else ""
    low = f"> {node['exclusiveMinimum']:g}" if "exclusiveMinimum" in node else low
    high = f"≤ {node['maximum']:,.15g}" if "maximum" in node else ""
    return " " + ", ".join(filter(None, (low, high))) if low or high else ""


def _parameters() -> Iterator[str]:
    yield PARAMETERS
    for name, dialect in DIALECTS.items():
        yield f"### service.api: {name}"
        rows = [
            [code(field), type_of(rule.schema()), rule.meaning]
            for field, rule in dialect.rules.items()
            if not isinstance(rule, RefusedRule)
        ]
        yield table(["parameter", "value", ""], rows)
        refused = [
            f"- {code(field)} {rule.meaning}"
            for field, rule in dialect.rules.items()
            if isinstance(rule, RefusedRule)
        ]
        if refused:
            yield "Refused, under `extra` too:\n\n" + "\n".join(refused)
