"""HTTP: one call out, one answer back.

`seam` is the contract; `direct` the way of nearly all runs, on `http1` and `outbox`; `reqwest` the way
through proxies; `opening` chooses between them by what `environment` says.
"""

from qfbatch.transport.opening import open_transport
from qfbatch.transport.seam import MAX_BODY_BYTES, Answer, HttpCall, Response, Transport, TransportError

__all__ = [
    "MAX_BODY_BYTES",
    "Answer",
    "HttpCall",
    "Response",
    "Transport",
    "TransportError",
    "open_transport",
]
