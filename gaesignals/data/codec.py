"""Data to bytes and back, exactly or not at all.

`dumps` and `loads` carry a user's data: every value comes back with the type and the value it went in with, and what
would come back as something else is refused. `seal` and `unseal` put what the library itself stores into an envelope
with a format version and a checksum. Stored bytes are never trusted: whatever they are, reading them gives a value of
the known types or raises an error of ours, and runs nobody's code. The checksum finds damage; it does not prove who
wrote.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Mapping
from struct import Struct
from typing import Any, Final, NoReturn

import cbor2

from gaesignals.errors import DecodeError, InvalidDataError, NewerFormatError

from .bounds import MAX_DEPTH
from .packing import pack, too_large
from .unpacking import unpack

MAX_PAYLOAD_BYTES: Final = 950_000
# A tuple, a set or a map of ours is a tag around a list.
_MAX_CBOR_DEPTH: Final = 2 * MAX_DEPTH + 2

_MAGIC: Final = b"gs"
_HEADER: Final = Struct(">2sBI")
"""The magic, the version, and the checksum of the version and what follows."""
_VERSION_SUMS: Final = [zlib.crc32(bytes((version,))) for version in range(256)]
_READING_ERRORS: Final = (
    cbor2.CBORError,
    ArithmeticError,
    AttributeError,
    LookupError,
    MemoryError,
    RecursionError,
    TypeError,
    ValueError,
)


def dumps(data: object) -> bytes:
    """Encode `data` for a message.

    Raises `InvalidDataError`, which names the type and its place (`data["user"][3]`), for a type that cannot come back
    as it is; for cycles and very deep nesting; for text that UTF-8 cannot express; and for a result of more than
    `MAX_PAYLOAD_BYTES`.
    """
    payload = cbor2.dumps(pack(data, max_bytes=MAX_PAYLOAD_BYTES))
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise InvalidDataError(too_large(MAX_PAYLOAD_BYTES))
    return payload


def loads(payload: bytes) -> Any:
    """Decode what `dumps` made; raise `DecodeError`, and nothing else, for any other bytes."""
    try:
        return unpack(_read_cbor(payload, max_depth=_MAX_CBOR_DEPTH))
    except _READING_ERRORS as error:
        raise DecodeError(f"the data of a message cannot be decoded: {error}") from error


def seal(version: int, body: object) -> bytes:
    """Wrap `body` (None, bool, int, float, str, bytes, list, dict) with its format version and a checksum."""
    return sealed(version, encode(body))


def sealed(version: int, encoded: bytes) -> bytes:
    """Wrap what `encode` or `joined` made, as `seal` does."""
    return _HEADER.pack(_MAGIC, version, zlib.crc32(encoded, _VERSION_SUMS[version])) + encoded


def encode(body: object) -> bytes:
    """The CBOR of a part of what is stored."""
    return cbor2.dumps(body)


def joined(count: int, items: bytes) -> bytes:
    """The CBOR of a list of `count` items whose own CBOR stands in `items`, one behind the other."""
    head = cbor2.dumps(count)  # of an integer; that of a list has one bit more
    return b"".join((bytes((head[0] | 0x80,)), head[1:], items))


def unseal(value: bytes, *, version: int) -> Any:
    """Return the body of a sealed `value` of format `version`.

    Raises `NewerFormatError` for an intact value of a later version, and `DecodeError` for anything else.
    """
    body = value[_HEADER.size :]
    if not body or value[:2] != _MAGIC:
        raise DecodeError("stored bytes do not begin as ours do")
    _, written_by, checksum = _HEADER.unpack_from(value)
    if zlib.crc32(body, _VERSION_SUMS[written_by]) != checksum:
        raise DecodeError("stored bytes do not match their checksum")
    if written_by > version:
        raise NewerFormatError(f"stored by a later version: format {written_by}; this one reads {version}")
    if written_by < version:
        raise DecodeError(f"stored by an earlier version: format {written_by}; this one reads {version}")
    return decode(body)


def decode(encoded: bytes) -> Any:
    """Return what `encode` or `joined` made `encoded` from; raise `DecodeError` for any other bytes."""
    try:
        return _read_cbor(encoded, max_depth=MAX_DEPTH, refused=_ALL_TAGS)
    except _READING_ERRORS as error:
        raise DecodeError(f"stored bytes cannot be decoded: {error}") from error


def _refuse_tag(*_: object) -> NoReturn:
    raise ValueError("a tag that is not one of ours")


# All the tags that cbor2 turns into something by itself, but for the two of large integers.
_FOREIGN_TAGS: Final = dict.fromkeys(
    (0, 1, 4, 5, 25, 28, 29, 30, 35, 36, 37, 52, 54, 100, 256, 258, 260, 261, 1004, 43000, 55799), _refuse_tag
)


_ALL_TAGS: Final = _FOREIGN_TAGS | {2: _refuse_tag, 3: _refuse_tag}
"""What the library stores itself has no integer over 64 bits."""


def _read_cbor(encoded: bytes, *, max_depth: int, refused: Mapping[int, Callable[..., Any]] = _FOREIGN_TAGS) -> Any:
    """Read one CBOR item, which has to be all there is; tags of ours stay tags."""
    value, end = cbor2.loads(
        b"\x82" + encoded + _END_ENCODED,  # a list of two
        semantic_decoders=refused,
        max_depth=max_depth + 1,
        allow_indefinite=False,
        allow_duplicate_keys=False,
        # Of keys that are numbers anybody can choose many with the same hash, which takes for ever.
        strict_hashable_types=True,
    )
    if end != _END:
        raise ValueError("there are bytes after the end")
    return value


# Put behind what is read, to see where it ends; a decoder that tells takes half as long again. Nobody outside this
# process knows it.
_END: Final = os.urandom(8)
_END_ENCODED: Final = cbor2.dumps(_END)
