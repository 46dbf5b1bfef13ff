"""Signals from App Engine requests, handled later by a worker service.

    Signal("order_paid").send({"order": 42})                        # in any request
    deliver([("order_paid", charge)], reliable=True)                # in the worker

Weak delivery runs each message at most once, reliable delivery at least once; both cost a constant number of calls
to the store for any number of names. What is promised under which failures is said in docs/guarantees.md.
"""

from .asgi import AsyncSignalsMiddleware
from .delivery.deliver import deliver, waiting_names
from .errors import (
    DecodeError,
    InvalidDataError,
    InvalidMappingError,
    InvalidNameError,
    InvalidOptionError,
    NoCurrentMessageError,
    RunningLoopError,
    SendError,
    SignalsError,
    StoreError,
)
from .guarded import guard
from .idempotency import once
from .message import Message, current_message
from .middleware import SignalsMiddleware
from .raised import Drop, Retry
from .receivers import Receivers
from .report import DeliveryReport, Failure
from .sending import asend_many, send_many
from .signal import Signal
from .threads import in_this_request

guard("gaesignals")
guard("gaesignals.worker")

__all__ = [
    "AsyncSignalsMiddleware",
    "DecodeError",
    "DeliveryReport",
    "Drop",
    "Failure",
    "InvalidDataError",
    "InvalidMappingError",
    "InvalidNameError",
    "InvalidOptionError",
    "Message",
    "NoCurrentMessageError",
    "Receivers",
    "Retry",
    "RunningLoopError",
    "SendError",
    "Signal",
    "SignalsError",
    "SignalsMiddleware",
    "StoreError",
    "asend_many",
    "current_message",
    "deliver",
    "in_this_request",
    "once",
    "send_many",
    "waiting_names",
]
