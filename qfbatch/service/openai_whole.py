"""An answer of the OpenAI protocol that came as a whole."""

from __future__ import annotations

import msgspec

from qfbatch.records import Completion, Failure
from qfbatch.service.dialect import Header
from qfbatch.service.fields import usage_of
from qfbatch.service.http_failures import bad_answer
from qfbatch.service.openai_answers import FAILED, Body, ReadPiece, completion_of, read_body
from qfbatch.service.openai_errors import BROKEN_OFF, HTTP_OK, failure_of
from qfbatch.wording import things


def whole_answer(
    read_piece: ReadPiece, status: int, header: Header, body: bytes, *, now: float
) -> Completion | Failure:
    """The outcome of a call answered as a whole.

    Args:
        read_piece: reads the choices of the route.
        status: HTTP status.
        header: response headers.
        body: the whole body.
        now: seconds since the epoch.
    """
    answer = read_body(body)
    if answer is None:
        if status == HTTP_OK:
            return bad_answer(
                f"the answer is not a JSON object of the protocol ({things(len(body), 'byte')})"
            )
        answer = Body()
    failure = failure_of(answer, status, header, now=now)
    if failure is not None:
        return failure
    choice = next((choice for choice in answer.choices or () if not choice.index), None)
    piece = None if choice is None else read_piece(choice)
    if choice is None or piece is None or piece.text is None:
        return bad_answer("the answer has no choice with a text")
    if choice.finish_reason == FAILED:
        return msgspec.structs.replace(BROKEN_OFF, usage=usage_of(answer.usage))
    return completion_of(answer, choice, piece.text, piece.extra, usage_of(answer.usage))
