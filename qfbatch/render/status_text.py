"""How a run stands, as text for a terminal or a log."""

from __future__ import annotations

from datetime import datetime

from qfbatch.progress.facts import duration, rate, remaining
from qfbatch.render.numbers import amount, cells, count, share, things
from qfbatch.status import RunState, RunStatus
from qfbatch.tally import Standing, total

_HEADERS = ("model", "done", "failed", "left", "tokens", "cost")
_STATES = {
    RunState.BUDGET: "stopped at the budget",
    RunState.REFUSED: "refused by the service",
    RunState.STOPPED: "stopped by an error",
}
_NEXT_STEP = {
    RunState.INTERRUPTED: "the same `qfbatch run` resumes it",
    RunState.KILLED: "the same `qfbatch run` resumes it",
    RunState.BUDGET: "raise the budget, then the same `qfbatch run` resumes it",
    RunState.REFUSED: "mend that, then the same `qfbatch run` resumes it",
    RunState.STOPPED: "mend that, then the same `qfbatch run` resumes it",
    RunState.UNFINISHED: "`qfbatch run` does the rest",
}


def render(status: RunStatus) -> str:
    """Some lines: state, rates, cost, a table of the models, the last events."""
    lines = [headline(status)]
    if status.holder is not None:
        lines.append(f"held by {status.holder}")
    elif status.session is not None:
        lines.append(_last_session(status))
    if status.outlook is not None:
        lines += _pace(status)
    whole = total(status.models.values())
    lines.append(_money(status, whole))
    lines += ["", *_table(status), ""]
    if status.recent:
        lines.append("Last events")
        lines += [f"{_clock(happened.time)} {happened.text}" for happened in status.recent]
        lines.append("")
    return "\n".join(lines[:-1] if not lines[-1] else lines) + "\n"


def headline(status: RunStatus) -> str:
    """One line: state and rows, and while it runs rates and the time left."""
    line = f"{status.name}: {_STATES.get(status.state, status.state)}, "
    line += f"{count(status.done)} of {things(status.rows, 'row')} ({share(status.done, status.rows)})"
    if status.failed:
        line += f", {status.failed:,} failed"
    if status.outlook is not None:
        line += f", {rate(status.outlook.rows_per_s)}, {remaining(status.outlook.eta_s)}"
    return line


def _last_session(status: RunStatus) -> str:
    session = status.session
    assert session is not None, "asked for a run that had a session"  # noqa: S101
    if session.ended_at is None:
        told = f"last session since {session.started_at}, ended without a word"
    else:
        told = f"last session {session.started_at} to {session.ended_at}, exit code {session.exit_code}"
        told += f": {session.note.splitlines()[0].rstrip('.')}" if session.note else ""
    step = _NEXT_STEP.get(status.state)
    if status.state is RunState.COMPLETE and status.failed:
        step = "`qfbatch report` tells what failed, `qfbatch run --retry-failed` asks it again"
    return f"{told}; {step}" if step else told


def _pace(status: RunStatus) -> list[str]:
    outlook = status.outlook
    assert outlook is not None, "asked for a running session"  # noqa: S101
    parts = [f"{outlook.tokens_per_s:,.0f} tokens/s", f"{status.in_flight:,} in flight"]
    parts.append(f"limit {outlook.binding}" if outlook.binding else "no limit binds")
    paused_s = max((lane.paused_s for lane in status.lanes.values()), default=0.0)
    if paused_s:
        parts.append(f"paused {duration(paused_s)}")
    parts += [f"{status.waiting:,} waiting", f"{status.throttled:,} throttled", f"{status.retried:,} retried"]
    return [", ".join(parts)]


def _money(status: RunStatus, whole: Standing) -> str:
    parts = [things(whole.total_tokens, "token")]
    if whole.discarded_tokens:
        parts.append(f"{things(whole.discarded_tokens, 'token')} paid and dropped")
    expected = {} if status.outlook is None else status.outlook.cost
    for currency, spent in whole.spent.items():
        text = f"cost {amount(spent)} {currency}".rstrip()
        if dropped := whole.discarded_cost.get(currency):
            text += f" ({amount(dropped)} of it for dropped answers)"
        parts.append(f"{text} of about {amount(expected[currency])}" if currency in expected else text)
    return ", ".join(parts)


def _table(status: RunStatus) -> list[str]:
    rows = [_HEADERS] + [
        (
            name,
            f"{model.rows:,}",
            f"{model.failed:,}",
            f"{model.left:,}",
            f"{model.total_tokens:,}",
            ", ".join(f"{amount(cost)} {currency}".rstrip() for currency, cost in model.cost.items()) or "-",
        )
        for name, model in status.models.items()
    ]
    widths = [max(cells(row[column]) for row in rows) for column in range(len(_HEADERS))]
    return [
        "  ".join(
            text + " " * (width - cells(text)) if column == 0 else text.rjust(width)
            for column, (text, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def _clock(time: str) -> str:
    return f"{datetime.fromisoformat(time).astimezone():%H:%M:%S}"
