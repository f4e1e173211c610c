"""The columns of the results, from the schema that writes them."""

from __future__ import annotations

from qfbatch.schema import COLUMNS, INPUT_PREFIX, INPUT_TYPES, SCHEMA_VERSION
from reference.markdown import code, table

INTRODUCTION = f"""\
One row per input row and model, in `results/part-*.parquet` of the run directory (zstd; schema version
{SCHEMA_VERSION}, in the files' metadata as `qfbatch_schema_version`). What the service did not say is null,
never a default. Parquet has no timestamps in seconds: readers of the files see `created` in
milliseconds, without a fraction. How to read them: [recipes](../recipes.md)."""
CARRIED = f"""\
Behind these stand the input's columns that `input.columns` carries, as `{INPUT_PREFIX}NAME`. Each has one
type for the whole run, found from all its values ([which](../input.md#columns-carried-into-the-results)):"""


def page() -> str:
    """The results' columns, then those carried from the input."""
    rows = ([code(column.name), code(column.type), column.meaning] for column in COLUMNS)
    kinds = ([code(kind), code(kind_type)] for kind, kind_type in INPUT_TYPES.items())
    return "\n\n".join(
        [
            INTRODUCTION,
            table(["column", "Arrow type", ""], rows),
            "## Carried columns",
            CARRIED,
            table(["kind", "Arrow type"], kinds),
        ]
    )
