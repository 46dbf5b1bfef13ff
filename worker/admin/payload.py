"""What a message carries, for the person who has to understand it."""

from __future__ import annotations

from werkzeug.exceptions import NotFound

from gaesignals.data import codec
from gaesignals.errors import DecodeError

MAX_PAYLOAD_CHARACTERS = 10_000


def shown(payload: bytes) -> str:
    """The data as Python writes it, cut. Raises `NotFound` for what was evicted, or cannot be decoded."""
    try:
        data = codec.loads(payload)
    except DecodeError as error:
        raise NotFound("the payload was evicted, or cannot be read") from error
    try:
        return repr(data)[:MAX_PAYLOAD_CHARACTERS]
    except ValueError:
        return "<it has an integer with more digits than Python shows>"
