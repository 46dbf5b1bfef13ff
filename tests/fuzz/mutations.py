"""What somebody who can write to memcache may plant: damaged bytes, and well-formed values that make no sense."""

from __future__ import annotations

import io
import random
from typing import Any

import cbor2

from gaesignals.data import codec
from gaesignals.errors import SignalsError

from .world import MAX_BYTES

ODD: tuple[Any, ...] = (
    *(
        0,
        1,
        -1,
        16,
        17,
        2**16,
        2**31,
        2**47 - 1,
        2**47,
        2**53,
        2**63,
        2**64 - 1,
        -(2**63),
        1.5,
        float("nan"),
        True,
        None,
    ),
    *("", "a", "x" * 300, "a\nb", "\x1b[31m", "\u202e", "é" * 100, b"", b"\xff", b"x" * 300, [], {}, [[]], {"a": []}),
)
_REPETITIONS = (2, 20, 500, 6000)


def mutated(planted: dict[bytes, bytes], chance: random.Random) -> dict[bytes, bytes]:
    """`planted` with something wrong in it."""
    key = chance.choice(list(planted))
    return planted | {key: _wrong(planted, key, chance)[:MAX_BYTES]}


def _wrong(planted: dict[bytes, bytes], key: bytes, chance: random.Random) -> bytes:
    value = planted[key]
    kind = chance.randrange(10)
    if kind == 0:
        return planted[chance.choice(list(planted))]
    if kind == 1:
        return _damaged(value, chance)
    opened = _open(value)
    if opened is None:
        return _damaged(value, chance)
    version, body = opened
    for _ in range(chance.randint(1, 3)):
        body = _changed(body, chance)
    sealed = codec.seal(version, body)
    return sealed if len(sealed) <= MAX_BYTES else value


def _damaged(value: bytes, chance: random.Random) -> bytes:
    position = chance.randrange(len(value) or 1)
    match chance.randrange(3):
        case 0:
            return value[:position]
        case 1:
            return value[:position] + bytes([chance.randrange(256)]) + value[position + 1 :]
        case _:
            return value + chance.randbytes(chance.randrange(50))


def _open(value: bytes) -> tuple[int, Any] | None:
    """The version and the body of a value in our envelope."""
    try:
        return value[2], codec.unseal(value, version=value[2])
    except (SignalsError, IndexError):
        return None


def _changed(body: Any, chance: random.Random) -> Any:
    """`body` with one thing in it changed, somewhere."""
    if isinstance(body, list) and body and chance.random() < 0.9:
        return _changed_list(body, chance)
    if isinstance(body, dict) and body and chance.random() < 0.9:
        return _changed_dict(body, chance)
    if isinstance(body, bytes) and body and chance.random() < 0.7:
        return _changed_bytes(body, chance)
    if isinstance(body, int) and chance.random() < 0.3:
        return body + chance.choice((-1, 1, 16, 10**6))
    return chance.choice(ODD)


def _changed_list(body: list[Any], chance: random.Random) -> list[Any]:
    index = chance.randrange(len(body))
    match chance.randrange(6):
        case 0:
            return body[:index] + body[index + 1 :]
        case 1:
            return body[:index] + [body[index]] * chance.choice(_REPETITIONS) + body[index + 1 :]
        case _:
            return [*body[:index], _changed(body[index], chance), *body[index + 1 :]]


def _changed_dict(body: dict[Any, Any], chance: random.Random) -> dict[Any, Any]:
    key = chance.choice(list(body))
    match chance.randrange(6):
        case 0:
            return {name: value for name, value in body.items() if name != key}
        case 1:
            return body | {chance.choice([each for each in ODD if isinstance(each, (str, bytes))]): body[key]}
        case _:
            return body | {key: _changed(body[key], chance)}


def _changed_bytes(body: bytes, chance: random.Random) -> bytes:
    """Bytes that may be values one behind the other, as entries are: changed as such, or simply damaged."""
    items = _sequence(body)
    if items is None or chance.random() < 0.2:
        return _damaged(body, chance)
    changed = _changed_list(items, chance)
    return b"".join(map(cbor2.dumps, changed))[:MAX_BYTES]


def _sequence(body: bytes) -> list[Any] | None:
    source = io.BytesIO(body)
    items = []
    try:
        while source.tell() < len(body):
            items.append(cbor2.CBORDecoder(source, read_size=1).decode())
    except (cbor2.CBORError, ValueError, OverflowError):
        return None
    return items
