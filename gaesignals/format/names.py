"""Pages that list names, each with a number: the slots of the index, the names with dead letters, the paused ones.

An entry that cannot be (planted, or from a fault) is left out of what is read, and so of what is written next. It must
not hide the others of its page, nor reach what a name leads to: keys, dates, addresses of pages for people.
"""

from __future__ import annotations

import logging
import re
from typing import Final

from gaesignals.errors import DecodeError

from .keys import MAX_NAME_BYTES

logger = logging.getLogger("gaesignals")

CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_END: Final = 2**47
"""Of times in milliseconds, in the year 6429. Counts are smaller by far."""


def is_name(name: object) -> bool:
    """Whether a signal may have that name. `template.check_name` says why not."""
    if not isinstance(name, str):
        return False
    if name.isascii() and name.isprintable():
        return 0 < len(name) <= MAX_NAME_BYTES
    try:
        return 0 < len(name.encode()) <= MAX_NAME_BYTES and not CONTROL.search(name)
    except UnicodeEncodeError:
        return False


def listed(body: object, *, what: str) -> dict[str, int]:
    """The entries of a stored page of names. Raises `DecodeError` if it is none."""
    if not isinstance(body, dict):
        raise DecodeError(f"not {what}")
    good = {
        name: number for name, number in body.items() if type(number) is int and 0 <= number < _END and is_name(name)
    }
    if len(good) < len(body):
        left_out = [ascii(name)[:100] for name in body if name not in good]
        logger.error(
            "entries that cannot be are left out",
            extra={"signals_page": what, "signals_count": len(left_out), "signals_names": left_out[:3]},
        )
    return good
