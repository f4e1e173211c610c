"""One pass over the whole input before any call: every row valid, every id unique, everything counted."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from qfbatch.errors import InputError
from qfbatch.job.settings import InputSettings
from qfbatch.prompts import prompter
from qfbatch.reader.blocks import Block, FirstRows
from qfbatch.reader.bytestream import file_bytes
from qfbatch.reader.columnar import parquet_blocks, row_count
from qfbatch.reader.duplicates import DuplicateFinder
from qfbatch.reader.files import Format, InputFile, find_files
from qfbatch.reader.jsonl import jsonl_blocks
from qfbatch.reader.keys import row_keys
from qfbatch.reader.kinds import ColumnKinds
from qfbatch.reader.problems import MAX_PROBLEMS, Problems
from qfbatch.reader.rows import PARAMETERS, RowError, id_of, not_carried, required_columns, row_parameters
from qfbatch.records import SourceFile, Survey
from qfbatch.service.parameters import body_fields
from qfbatch.shards import ShardCutter
from qfbatch.template import TemplateError, quoted
from qfbatch.tokens import answer_cap, estimates

CheckParameters = Callable[[Mapping[str, Any]], Sequence[str]]
OnProgress = Callable[[int, int], None]
OnKeys = Callable[[bytes], object]

_CHANGED = "changed while it was being read"
_ID_HINT = "Correct these rows, or `input.id` in the job; without it rows are known by file and line."


def survey(
    settings: InputSettings,
    *,
    check_parameters: CheckParameters | None = None,
    on_progress: OnProgress | None = None,
    on_keys: OnKeys | None = None,
    limit: int | None = None,
) -> Survey:
    """Reads and validates the whole input, or its first rows, in memory that does not grow with it.

    Args:
        settings: what to read.
        check_parameters: given a row's own parameters, says what is wrong with them.
        on_progress: is told how many bytes of how many have been read, after every block.
        on_keys: is given the `row_keys` of every row, block by block, in order.
        limit: the first so many rows alone; what comes after them is not looked at, and files that are read
            in part have no digest worth comparing.

    Raises:
        InputError: the first problems of the input, at most `problems.MAX_PROBLEMS`, in one message.
        TemplateError: the template cannot be read.
    """
    files = find_files(settings.paths, settings.access)
    with DuplicateFinder() as duplicates:
        surveyor = _Surveyor(
            settings,
            files,
            duplicates,
            check_parameters=check_parameters,
            on_progress=on_progress,
            on_keys=on_keys,
            limit=limit,
        )
        return surveyor.survey()


class _Surveyor:
    """The state of one survey."""

    def __init__(
        self,
        settings: InputSettings,
        files: Sequence[InputFile],
        duplicates: DuplicateFinder,
        *,
        check_parameters: CheckParameters | None,
        on_progress: OnProgress | None,
        on_keys: OnKeys | None,
        limit: int | None,
    ) -> None:
        self._settings = settings
        self._files = files
        self._duplicates = duplicates
        self._check_parameters = check_parameters
        self._on_progress = on_progress
        self._on_keys = on_keys
        self._room = sys.maxsize if limit is None else limit  # for rows that are still to be looked at
        self._prompter = prompter(settings)
        self._required = required_columns(settings)
        self._kinds = ColumnKinds(settings.columns)
        self._problems = Problems()
        self._cutter = ShardCutter(settings.shard_rows)
        self._tokens = 0
        self._bytes_done = 0
        self._bytes_total = 0

    def survey(self) -> Survey:
        """Reads all files and says what is there; raises what is wrong, all of it together."""
        self._bytes_total = sum(file.size for file in self._files)
        read = [(file, source) for file in self._files if self._room and (source := self._file(file))]
        if self._settings.id is not None:
            self._check_unique([file for file, _ in read], self._settings.id)
        self._problems.raise_found()
        return Survey(
            files=tuple(source for _, source in read),
            shards=tuple(self._cutter.shards),
            columns=self._kinds.carried(without=not_carried(self._settings)),
            rows=sum(source.rows for _, source in read),
            estimated_prompt_tokens=self._tokens,
        )

    def _file(self, file: InputFile) -> SourceFile | None:
        """Surveys one file; None where it cannot be read to its end."""
        source = file.source()
        digest = hashlib.sha256()
        problems_before = len(self._problems)
        try:
            before = source.stamp()
            for block in self._blocks(file, before.size, digest.update):
                part = block if len(block.rows) < self._room else FirstRows(block, self._room)
                self._room -= len(part.rows)
                self._block(file.name, part)
                if not self._room:
                    break
            after = source.stamp()
        except OSError as error:
            self._problems.add(InputError(f"cannot be read: {error.strerror}", source_file=file.name))
            return None
        except InputError as error:
            if error.source_file != file.name:
                raise  # not one problem of this file, but all of them together
            self._problems.add(error)
            return None
        finally:
            rows = self._cutter.end_file(file.name)
        if before != after:
            self._problems.add(InputError(_CHANGED, source_file=file.name))
        elif not rows and len(self._problems) == problems_before:
            self._problems.add(
                InputError("holds no rows", source_file=file.name, hint="Remove it from `input.path`.")
            )
        return SourceFile(
            name=file.name,
            path=file.path,
            size=before.size,
            mtime_ns=before.mtime_ns,
            digest=digest.hexdigest(),
            rows=rows,
            etag=before.etag,
        )

    def _blocks(self, file: InputFile, size: int, digest: Callable[[bytes], None]) -> Iterator[Block]:
        """The file's blocks; all its bytes go to `digest`, and progress is told after each block."""
        done_before = self._bytes_done

        def tap(piece: bytes) -> None:
            """Takes note of bytes as they are read; refuses a file that has become larger than it was."""
            digest(piece)
            self._bytes_done += len(piece)
            if self._bytes_done > done_before + size:  # it grows, perhaps as fast as we read
                raise InputError(_CHANGED, source_file=file.name)

        if file.format is Format.PARQUET:
            for piece in file_bytes(file.source()):
                tap(piece)
            rows = row_count(file)
            for block in self._parquet_blocks(file):
                yield block
                self._progress(done_before + size * block.numbers[-1] // rows)
        else:
            for jsonl_block in jsonl_blocks(file, tap=tap):
                yield jsonl_block
                self._progress(self._bytes_done)
        self._progress(done_before + size)

    def _parquet_blocks(self, file: InputFile) -> Iterator[Block]:
        return parquet_blocks(
            file, required=self._required, optional=(PARAMETERS,), observed=self._settings.columns
        )

    def _progress(self, bytes_done: int) -> None:
        self._bytes_done = bytes_done
        if self._on_progress:
            self._on_progress(bytes_done, self._bytes_total)

    def _block(self, source_file: str, block: Block) -> None:
        """Checks and counts a block's rows: all at once, and one by one only where something is wrong."""
        self._cutter.add(block.numbers, block.offsets)
        seen = block.seen()
        self._kinds.add(seen)
        try:
            prompts = self._prompter.render_all(block.rows)
            ids = self._ids(block.rows)
            own = seen.get(PARAMETERS)
            if own:
                self._check_all_parameters(block.rows)
        except (TemplateError, RowError):
            self._explain(source_file, block)
            return
        for problem in block.problems:
            self._problems.add(problem)
        tokens = estimates(prompts)
        self._tokens += sum(tokens)
        self._cutter.count(tokens)
        if own:
            self._cutter.cap(list(map(_own_cap, block.rows)))
        self._duplicates.add(ids)
        if self._on_keys is not None:
            self._on_keys(row_keys(ids, prompts, block.rows))

    def _ids(self, rows: Sequence[Mapping[str, Any]]) -> list[str]:
        """The rows' ids; none where they are derived, which makes them unique."""
        name = self._settings.id
        if name is None:
            return []
        ids: list[Any] = [row.get(name) for row in rows]
        if set(map(type, ids)) <= {str} and all(ids):
            return ids
        return [id_of(row, name) for row in rows]

    def _check_all_parameters(self, rows: Sequence[Mapping[str, Any]]) -> None:
        for row in rows:
            if found := self._parameter_problems(row):
                raise RowError(found[0])

    def _parameter_problems(self, row: Mapping[str, Any]) -> list[str]:
        parameters = row_parameters(row)
        if not parameters or not self._check_parameters:
            return []
        return [f"column {PARAMETERS!r}: {problem}" for problem in self._check_parameters(parameters)]

    def _explain(self, source_file: str, block: Block) -> None:
        """Adds the problems of a block's lines and rows, in their order."""
        found = list(block.problems)
        ids = []
        for number, row in zip(block.numbers, block.rows, strict=True):
            problems = []
            try:
                self._prompter.render(row)
            except TemplateError as error:
                problems.append((str(error), self._prompt_hint))
            try:
                ids += self._ids([row])
            except RowError as error:
                problems.append((str(error), _ID_HINT))
            try:
                problems += [(problem, "") for problem in self._parameter_problems(row)]
            except RowError as error:
                problems.append((str(error), ""))
            found += [
                InputError(what, source_file=source_file, source_row=number, hint=hint)
                for what, hint in problems
            ]
            if len(found) >= MAX_PROBLEMS:
                break
        for problem in sorted(found, key=lambda problem: problem.source_row or 0):
            self._problems.add(problem)
        self._duplicates.add(ids)

    @property
    def _prompt_hint(self) -> str:
        settings = self._settings
        key = next(key for key in ("prompt", "template", "messages") if getattr(settings, key) is not None)
        return f"Correct these rows, or `input.{key}` in the job."

    def _check_unique(self, files: Sequence[InputFile], name: str) -> None:
        """Reads the input again where ids look the same, to name both places."""
        suspects = self._duplicates.suspects()
        if not suspects:
            return
        first: dict[str, str] = {}
        for file in files:
            for block in _id_blocks(file, name):
                for number, row in zip(block.numbers, block.rows, strict=True):
                    try:
                        row_id = id_of(row, name)
                    except RowError:
                        continue  # a problem already
                    if hash(row_id) not in suspects:
                        continue
                    place = f"{file.name}:{number}"
                    if (used := first.setdefault(row_id, place)) != place:
                        self._problems.add(
                            InputError(
                                f"id {quoted(row_id)} is already used at {used}",
                                source_file=file.name,
                                source_row=number,
                                hint=_ID_HINT,
                            )
                        )


def _own_cap(row: Mapping[str, Any]) -> int | None:
    """The most tokens that a row itself allows its answer; None where it does not say."""
    cap = answer_cap(body_fields(row_parameters(row)))
    return None if cap is None else cap[1]


def _id_blocks(file: InputFile, name: str) -> Iterator[Block]:
    if file.format is Format.PARQUET:
        return parquet_blocks(file, required=(name,), optional=(), observed=())
    return jsonl_blocks(file)
