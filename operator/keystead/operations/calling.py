"""Which call is being worked for. The front door says it where a call has to wait for something; whoever then asks the API server names it
there (header Audit-ID), so that the API server's audit log and ours can be joined.

A ContextVar, because the id is nobody's business between the two: it decides nothing, and no operation may look at it.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Final

CALL: Final[ContextVar[str]] = ContextVar("keystead_call", default="")
"""The request id; "" outside of calls."""
