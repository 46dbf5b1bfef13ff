"""The keys of the store: every one starts with `gs:`, and none is over 250 bytes whatever the name."""

from __future__ import annotations

import zlib

from gaesignals.values import value

SLOTS = 1024
MAX_NAME_BYTES = 200
"""Of a signal's name in UTF-8."""

DEAD_NAME_PAGES = 16
PAUSED_NAMES = b"gs:paused"
LAST_FAN_OUT = b"gs:fanout"
FLUSH_MARKER = b"gs:marker"
FLEET = b"gs:fleet"


def page_key(name: str, lane: int = 0) -> bytes:
    """The page of a lane of a name; lane 0 is the home page."""
    return b"gs:p:%d:%s" % (lane, name.encode())


def segment_key(epoch: str, index: int) -> bytes:
    """A sealed segment of the page of that epoch, which no other page ever had."""
    return f"gs:s:{epoch}:{index}".encode()


def bundle_key(id_: str) -> bytes:
    return f"gs:b:{id_}".encode()


def slot_key(slot: int) -> bytes:
    return f"gs:i:{slot}".encode()


def dead_key(name: str) -> bytes:
    """The page of a name's dead letters."""
    return b"gs:d:" + name.encode()


def dead_names_key(page: int) -> bytes:
    """A page of the index of names with dead letters."""
    return b"gs:dead:%d" % page


def dead_names_page_of(name: str) -> int:
    """The page that lists a name with dead letters, the same in every process and version."""
    return zlib.crc32(name.encode()) % DEAD_NAME_PAGES


def marker_key(task: str) -> bytes:
    """What tells a rescue task that its message is done."""
    return f"gs:k:{task}".encode()


def slot_of(name: str) -> int:
    """The slot of the index that a name is listed in, the same in every process and version."""
    return zlib.crc32(name.encode()) % SLOTS


@value
class Address:
    """One page: a name and a lane of it. Lane 0 is the home page."""

    name: str
    lane: int = 0

    @property
    def key(self) -> bytes:
        return page_key(self.name, self.lane)
