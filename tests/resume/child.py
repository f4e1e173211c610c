"""Accepts a changed input in a process of its own, which a fault point may kill: `child.py FOLDER`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from qfbatch.checkpoint.layout import RunLayout
from qfbatch.checkpoint.manifest import read_manifest
from qfbatch.checkpoint.succession import Succession
from qfbatch.cli.light_start import without_pandas
from qfbatch.flow.resuming import follow_input
from resume.runs import make_job

without_pandas()
job = make_job(Path(sys.argv[1]))
layout = RunLayout(Path(str(job.output_path)))
Succession(layout).finish()
manifest = read_manifest(layout)
assert manifest is not None
follow_input(job, layout, manifest, accept=True, on_survey=None)
