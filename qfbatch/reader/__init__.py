"""From input files to rows: what there is (`survey`), what is asked (`ShardReader`), what changed since."""

from qfbatch.reader.changes import InputChange, changed_files
from qfbatch.reader.files import find_files
from qfbatch.reader.rows import RowError, row_parameters
from qfbatch.reader.shard_reader import ShardReader, read_shard
from qfbatch.reader.survey import survey

__all__ = [
    "InputChange",
    "RowError",
    "ShardReader",
    "changed_files",
    "find_files",
    "read_shard",
    "row_parameters",
    "survey",
]
