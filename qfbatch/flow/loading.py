"""From a shard to the requests still to be made of it, for one model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import repeat
from typing import Any

from qfbatch.flow.feed import ShardWork
from qfbatch.flow.session import OpenSession
from qfbatch.job.settings import Job, ModelSettings
from qfbatch.prompts import prompter
from qfbatch.reader.rows import PARAMETERS, not_carried, row_parameters
from qfbatch.reader.shard_reader import ShardReader
from qfbatch.records import Request, Status
from qfbatch.service.parameters import as_sent, body_fields
from qfbatch.tokens import estimates


class Loader:
    """Reads one shard for one model: rows without a final record, rendered.

    Args:
        job: the job.
        model: which of its models is asked.
        session: the open run.
        reader: reads its shards; shared by the loaders of all models.
        retry_failed: whether a failed record is final.
    """

    def __init__(
        self,
        job: Job,
        model: ModelSettings,
        session: OpenSession,
        reader: ShardReader,
        *,
        retry_failed: bool,
    ) -> None:
        self._reader = reader
        self._model = model
        self._parameters = dict(model.parameters)
        self._parameters_text = as_sent(model.parameters)
        self._prompter = prompter(job.input)
        self._checkpoint = session.checkpoint
        self._files = {file.name: file for file in session.manifest.survey.files}
        self._carried = [column.name for column in session.manifest.survey.columns]
        # Where all columns are carried, a row's without these few are made in half the time.
        self._left_out = [name for name in not_carried(job.input) if name not in self._carried]
        self._all_carried = job.input.columns is None
        self._retry_failed = retry_failed

    def __call__(self, item: ShardWork) -> list[Request]:
        """The requests still to be made of this shard, in row order; blocking, for a thread.

        While a thread does this, the event loop's thread waits for the interpreter: so what is the same for
        all rows is done once, and each step is one pass in C where it can be.

        Raises:
            InputError: the input changed since it was surveyed.
            StorageError: what is committed of the shard cannot be read.
        """
        shard, model = item.shard, self._model
        done = self._checkpoint.open_shard(model.name, shard.number)
        dropped = self._checkpoint.dropped(model.name, shard.number) if self._retry_failed else {}
        rows = self._reader.read(self._files[shard.source_file], shard)[: item.rows]
        if done:
            rows = [row for row in rows if self._is_open(done.get(row.row_id))]
        ids = [row.row_id for row in rows]
        columns = [row.columns for row in rows]
        prompts = self._prompter.render_all(columns)
        parameters = self._parameters_of(columns)
        return list(
            map(
                Request,
                ids,
                [row.source_file for row in rows],
                [row.source_row for row in rows],
                repeat(model.name),
                repeat(shard.number),
                prompts,
                parameters,
                map(self._text_of, parameters),
                estimates(prompts),
                self._carried_of(columns),
                repeat(self._prompter.messages),
                map(done.__contains__, ids),  # an open row that has a record failed before
                map(dropped.get, ids),
            )
        )

    def _is_open(self, status: Status | None) -> bool:
        return status is None or (self._retry_failed and status is Status.FAILED)

    def _parameters_of(self, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """The body fields of each row's request; one and the same dict where rows have none of their own."""
        parameters = self._parameters
        return [parameters if PARAMETERS not in row else self._with_own(row_parameters(row)) for row in rows]

    def _with_own(self, own: dict[str, Any]) -> dict[str, Any]:
        return body_fields(self._model.parameters, own) if own else self._parameters

    def _text_of(self, parameters: dict[str, Any]) -> str:
        return self._parameters_text if parameters is self._parameters else as_sent(parameters)

    def _carried_of(self, rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """The carried columns of each row."""
        carried = self._carried
        if not carried:
            return [{} for _ in rows]
        if not self._all_carried:
            return [{name: row[name] for name in carried if name in row} for row in rows]
        copies = list(map(dict.copy, rows))
        for name in self._left_out:
            for row in copies:
                row.pop(name, None)
        return copies
