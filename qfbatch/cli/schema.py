"""`qfbatch schema`: the job file's JSON Schema, for editors."""

from __future__ import annotations

import json

import click

from qfbatch.job.document import json_schema


@click.command()
def command() -> None:
    """Print the job file's JSON Schema.

    Save it beside the job file (qfbatch schema > job.schema.json): editors with a YAML language server then
    complete and check the keys of files that qfbatch init wrote.
    """
    click.echo(json.dumps(json_schema(), indent=2, ensure_ascii=False))
