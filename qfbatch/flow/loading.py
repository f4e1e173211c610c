"""From a shard to the requests still to be made of it, for one model."""

from __future__ import annotations

from qfbatch.flow.feed import ShardWork
from qfbatch.flow.session import OpenSession
from qfbatch.job.settings import Job, ModelSettings
from qfbatch.prompts import prompter
from qfbatch.reader.rows import row_parameters
from qfbatch.reader.shard_reader import ShardReader
from qfbatch.records import Request, Status
from qfbatch.service.parameters import body_fields
from qfbatch.tokens import estimate


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
        self._prompter = prompter(job.input)
        self._checkpoint = session.checkpoint
        self._files = {file.name: file for file in session.manifest.survey.files}
        self._carried = [column.name for column in session.manifest.survey.columns]
        self._retry_failed = retry_failed

    def __call__(self, item: ShardWork) -> list[Request]:
        """The requests still to be made of this shard, in row order; blocking, for a thread.

        Raises:
            InputError: the input changed since it was surveyed.
            StorageError: what is committed of the shard cannot be read.
        """
        shard, model = item.shard, self._model
        done = self._checkpoint.open_shard(model.name, shard.number)
        dropped = self._checkpoint.dropped(model.name, shard.number) if self._retry_failed else {}
        rows = self._reader.read(self._files[shard.source_file], shard)[: item.rows]
        requests = []
        for row in rows:
            status = done.get(row.row_id)
            if status is not None and not (self._retry_failed and status is Status.FAILED):
                continue
            columns = row.columns
            prompt = self._prompter.render(columns)
            own = row_parameters(columns)
            requests.append(
                Request(  # unnamed as in `record_of`, and for the same reason
                    row.row_id,
                    row.source_file,
                    row.source_row,
                    model.name,
                    shard.number,
                    prompt,
                    body_fields(model.parameters, own) if own else dict(model.parameters),
                    estimate(prompt),
                    {name: columns[name] for name in self._carried if name in columns},
                    self._prompter.messages,
                    failed_before=status is not None,
                    dropped_before=dropped.get(row.row_id),
                )
            )
        return requests
