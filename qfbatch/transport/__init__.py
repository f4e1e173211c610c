"""HTTP: one call out, one response back.

`seam` is the contract; `direct` the way of nearly all runs, on `http1`; `reqwest` the way through proxies;
`opening` chooses between them by what `environment` says.
"""

from qfbatch.transport.opening import open_transport
from qfbatch.transport.seam import MAX_BODY_BYTES, HttpCall, Response, Transport, TransportError

__all__ = ["MAX_BODY_BYTES", "HttpCall", "Response", "Transport", "TransportError", "open_transport"]
