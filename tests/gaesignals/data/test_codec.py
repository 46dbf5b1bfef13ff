"""What goes in comes out; what would not is refused; and stored bytes are never trusted."""

from __future__ import annotations

import collections
import dataclasses
import enum
import inspect
import math
import pickle
import random
import sys
import tracemalloc
import uuid
from datetime import date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from fractions import Fraction
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import cbor2
import pytest
from cbor2 import CBORTag
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gaesignals.data import codec
from gaesignals.data.bounds import MAX_DEPTH, MAX_INTEGER_BITS, MAX_KEYS
from gaesignals.data.codec import MAX_PAYLOAD_BYTES, dumps, loads, seal, unseal
from gaesignals.errors import DecodeError, InvalidDataError, NewerFormatError, SignalsError


def same(left: Any, right: Any) -> bool:
    """Equal in type and value all the way down, a NaN being equal to a NaN and -0.0 different from 0.0."""
    if type(left) is not type(right):
        return False
    if isinstance(left, float):
        return (math.copysign(1, left), left) == (math.copysign(1, right), right) or (_is_nan(left) and _is_nan(right))
    if isinstance(left, Decimal):
        return left.as_tuple() == right.as_tuple()
    if isinstance(left, datetime | time):
        return left == right and left.utcoffset() == right.utcoffset() and left.fold == right.fold
    if isinstance(left, list | tuple):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, set | frozenset):
        return len(left) == len(right) and all(any(same(here, there) for there in right) for here in left)
    if isinstance(left, dict):
        return same(list(left.items()), list(right.items()))
    return bool(left == right)


def _is_nan(value: Any) -> bool:
    return value.is_nan() if isinstance(value, Decimal) else isinstance(value, float) and math.isnan(value)


offsets = st.timedeltas(timedelta(hours=-23, minutes=-59), timedelta(hours=23, minutes=59)).map(timezone)
folds = st.sampled_from([0, 1])
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-(2**200), 2**200),
    st.floats(),
    st.text(),
    st.binary(),
    st.datetimes(),
    st.builds(lambda moment, fold: moment.replace(fold=fold), st.datetimes(), folds),
    st.builds(lambda moment, zone, fold: moment.replace(tzinfo=zone, fold=fold), st.datetimes(), offsets, folds),
    st.dates(),
    st.times(),
    st.builds(lambda moment, fold: moment.replace(fold=fold), st.times(), folds),
    st.builds(lambda moment, zone, fold: moment.replace(tzinfo=zone, fold=fold), st.times(), offsets, folds),
    st.timedeltas(),
    st.decimals(),
    st.uuids(),
    st.fractions(),
)
hashable = st.recursive(
    scalars.filter(lambda value: not _is_nan(value)),  # a set has as many NaNs as one puts in, in any order
    lambda inner: st.one_of(st.lists(inner, max_size=4).map(tuple), st.frozensets(inner, max_size=4)),
    max_leaves=6,
)
data = st.recursive(
    scalars | hashable,
    lambda inner: st.one_of(
        st.lists(inner, max_size=5),
        st.lists(inner, max_size=5).map(tuple),
        st.sets(hashable, max_size=5),
        st.dictionaries(st.text(max_size=5), inner, max_size=5),
        st.dictionaries(hashable, inner, max_size=5),
    ),
    max_leaves=20,
)


@given(data)
@settings(max_examples=200)
@example([1, True, 1.0, "1", b"1"])
@example({1: "int", "1": "str", b"1": "bytes", (1,): "tuple", None: "none", 2.5: "float", frozenset({1}): "frozenset"})
@example([0.0, -0.0, math.inf, -math.inf, math.nan])
@example([Decimal("-0.00"), Decimal("NaN12"), Decimal("-sNaN"), Decimal("1E+999999"), Decimal("Infinity")])
@example([2**64, -(2**64) - 1, 2**64 - 1, -(2**64), 10**400])
@example([datetime.min, datetime.max, date.min, time.max, timedelta.min, timedelta.max])
@example([[], (), {}, set(), frozenset(), "", b""])
def test_data_comes_back_with_its_types_and_values(value: Any) -> None:
    assert same(loads(dumps(value)), value)


@pytest.mark.parametrize(
    "offset",
    [
        timedelta(hours=5, minutes=30),
        timedelta(hours=-3, minutes=-30),
        timedelta(minutes=19, seconds=32),
        timedelta(seconds=-1, microseconds=-7),
        timedelta(microseconds=1),
        timedelta(microseconds=-1),
        timedelta(hours=23, minutes=59, seconds=59, microseconds=999999),
    ],
)
def test_an_aware_datetime_keeps_its_instant_and_the_oddest_offset(offset: timedelta) -> None:
    moment = datetime(1901, 2, 3, 4, 5, 6, 7, timezone(offset))
    back = loads(dumps(moment))
    assert back == moment
    assert back.utcoffset() == offset
    assert back.tzinfo == timezone(offset)
    assert loads(dumps(moment.timetz())).utcoffset() == offset


@pytest.mark.parametrize("fold", [0, 1])
def test_a_zone_comes_back_as_its_offset_at_that_moment(fold: int) -> None:
    moment = datetime(2024, 10, 27, 2, 30, tzinfo=ZoneInfo("Europe/Paris"), fold=fold)
    back = loads(dumps(moment))
    assert back.astimezone(timezone.utc) == moment.astimezone(timezone.utc)
    assert back.tzinfo == timezone(timedelta(hours=2 - fold))


def test_an_utc_datetime_comes_back_in_utc_itself() -> None:
    assert loads(dumps(datetime(2024, 1, 1, tzinfo=timezone.utc))).tzinfo is timezone.utc


def test_a_naive_datetime_stays_naive_with_its_fold() -> None:
    back = loads(dumps(datetime(2024, 10, 27, 2, 30, fold=1)))
    assert (back.tzinfo, back.fold) == (None, 1)


class Colour(enum.Enum):
    RED = "red"


def alike(count: int) -> list[int]:
    """Different numbers of one hash."""
    return [number * sys.hash_info.modulus for number in range(1, count + 1)]


class Size(str, enum.Enum):
    SMALL = "small"


class Level(enum.IntEnum):
    LOW = 1


class Bits(enum.IntFlag):
    ONE = 1


class Point(NamedTuple):
    x: int


class Text(str):
    __slots__ = ()


class Stamp(datetime):
    pass


@dataclasses.dataclass
class Paid:
    order: int = 1


class Unknown:
    pass


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (Colour.RED, r"is of type .*Colour, .*send its \.value"),
        (Size.SMALL, r"is of type .*Size, .*send its \.value"),
        (Level.LOW, r"is of type .*Level, .*send its \.value"),
        (Bits.ONE, r"is of type .*Bits, .*send its \.value"),
        (Point(1), "Point, which would come back as a plain tuple"),
        (Text("a"), "Text, which would come back as a plain str"),
        (Stamp(2024, 1, 1), "Stamp, which would come back as a plain datetime"),
        (collections.OrderedDict(a=1), r"collections\.OrderedDict, which would come back as a plain dict"),
        (collections.defaultdict(int), r"collections\.defaultdict, which would come back as a plain dict"),
        (collections.Counter("a"), r"collections\.Counter, which would come back as a plain dict"),
        (bytearray(b"a"), r"is of type bytearray, .*bytes\(\.\.\.\)"),
        (memoryview(b"a"), r"is of type memoryview, .*bytes\(\.\.\.\)"),
        (collections.deque(), "deque, which cannot be carried: convert it to one of None, bool, float, Decimal"),
        (1j, "is of type complex, which cannot be carried"),
        (range(3), "is of type range, which cannot be carried"),
        (..., "is of type ellipsis, which cannot be carried"),
        (Paid(), r"Paid, a dataclass, which is carried where it is declared: Signal\(\.\.\., data_type=\.\.\.\)"),
        (Unknown(), "Unknown, which cannot be carried"),
        (Unknown, "is of type type, which cannot be carried"),
        (len, "is of type builtin_function_or_method, which cannot be carried"),
        (cbor2.undefined, "UndefinedType, which cannot be carried"),
        (CBORTag(1, 2), "CBORTag, which cannot be carried"),
        (iter([1]), "list_iterator, which cannot be carried"),
        ("a\ud800", "lone surrogate, which UTF-8 cannot express: send it as bytes"),
        (time(1, tzinfo=ZoneInfo("Europe/Paris")), "no UTC offset without a date"),
        (Fraction(1, 2**100_000), "Fraction of more than 80,000 bits"),
        (2**MAX_INTEGER_BITS, "is an int of more than 80,000 bits: send it as bytes"),
        (-(2**MAX_INTEGER_BITS), "is an int of more than 80,000 bits"),
        (set(range(MAX_KEYS + 1)), "has more than 10,000 keys: send a list"),
        (dict.fromkeys(map(str, range(MAX_KEYS + 1))), "has more than 10,000 keys: send a list"),
        (dict.fromkeys(alike(1000)), "has too many keys of the same hash"),
    ],
    ids=lambda value: value if isinstance(value, str) and value.isascii() else type(value).__name__,
)
def test_what_would_come_back_as_something_else_is_refused_with_advice(value: Any, said: str) -> None:
    with pytest.raises(InvalidDataError, match=said):
        dumps(value)


def test_a_tzinfo_without_an_offset_is_refused() -> None:
    class Nowhere(tzinfo):
        def utcoffset(self, moment: datetime | None) -> None:
            return None

    with pytest.raises(InvalidDataError, match="gives no UTC offset"):
        dumps(datetime(2024, 1, 1, tzinfo=Nowhere()))


@pytest.mark.parametrize(
    ("value", "place"),
    [
        (Unknown(), "data is of type"),
        ({"user": [0, 1, 2, Unknown()]}, 'data["user"][3] is of type'),
        ([(0, {"a": Size.SMALL})], 'data[0][1]["a"] is of type'),
        ({1: {b"k": [Unknown()]}}, "data[1][b'k'][0] is of type"),
        ({(1, 2): Unknown()}, "data[(1, 2)] is of type"),
        ({"a": {(1, Level.LOW): 1}}, 'data["a"]<key (1, <Level.LOW: 1>)>[1] is of type'),
        ([{Size.SMALL}], "data[0]<element <Size.SMALL: 'small'>> is of type"),
        ({"a\ud800": 1}, 'data<key "a\\ud800"> is text with a lone surrogate'),
        ({"k" * 100: Unknown()}, f'data["{"k" * 59}...] is of type'),
        ({10**5000: Unknown()}, "data[...] is of type"),
    ],
)
def test_the_error_says_where_in_the_data_it_is(value: Any, place: str) -> None:
    with pytest.raises(InvalidDataError) as caught:
        dumps(value)
    assert str(caught.value).startswith(place)


def test_the_largest_integers_and_the_most_keys_come_back() -> None:
    most = 2**MAX_INTEGER_BITS - 1
    assert loads(dumps([most, -most])) == [most, -most]
    for value in (set(range(MAX_KEYS)), dict.fromkeys(map(str, range(MAX_KEYS))), dict.fromkeys(range(MAX_KEYS))):
        assert loads(dumps(value)) == value


def test_honest_keys_of_the_same_hash_come_back() -> None:
    grid = {(x, y, z) for x in range(-9, 9) for y in range(-9, 9) for z in range(-9, 9)}
    assert loads(dumps(grid)) == grid
    assert loads(dumps(set(alike(300)))) == set(alike(300))


def planted_sets(levels: int, width: int) -> Any:
    """A set of sets of sets, each with elements of one hash, so that telling two apart multiplies with each level."""
    elements: list[Any] = alike(width + 1)
    for _ in range(levels):
        elements = [CBORTag(26482, elements[:index] + elements[index + 1 :]) for index in range(len(elements))]
    return CBORTag(26481, elements)


@pytest.mark.parametrize(
    "planted",
    [
        CBORTag(26481, alike(MAX_KEYS)),
        CBORTag(26483, [alike(MAX_KEYS), alike(MAX_KEYS)]),
        dict.fromkeys(alike(500)),
        CBORTag(26481, [CBORTag(26490, [number, 1]) for number in alike(MAX_KEYS)]),
        planted_sets(2, 30),
        planted_sets(3, 12),
    ],
    ids=["set", "pairs", "map", "fractions", "sets of sets", "sets of sets of sets"],
)
def test_keys_planted_to_be_compared_for_ever_are_refused_before_they_are(planted: Any) -> None:
    with pytest.raises(DecodeError, match=r"same hash|key must be a text string"):
        loads(cbor2.dumps(planted))


def nested(depth: int) -> Any:
    value: Any = "leaf"
    for _ in range(depth):
        value = [value]
    return value


def test_deep_data_comes_back_and_deeper_is_refused() -> None:
    assert loads(dumps(nested(MAX_DEPTH))) == nested(MAX_DEPTH)
    with pytest.raises(InvalidDataError, match=f"more than {MAX_DEPTH} deep"):
        dumps(nested(MAX_DEPTH + 1))
    with pytest.raises(InvalidDataError, match=f"more than {MAX_DEPTH} deep"):
        dumps(nested(100_000))


def test_the_deepest_data_of_every_container_comes_back() -> None:
    value: Any = frozenset({1})
    for level in range(MAX_DEPTH - 1):
        value = ((value,), {(1,): value}, {"a": value}, [value])[level % 4]
    assert loads(dumps(value)) == value


def test_data_that_the_stack_has_no_room_for_is_refused_and_not_a_crash() -> None:
    value, payload = nested(MAX_DEPTH), dumps(nested(MAX_DEPTH))

    def deep_down(frames: int) -> None:
        if frames:
            return deep_down(frames - 1)
        with pytest.raises(InvalidDataError, match="too little room on the stack"):
            dumps(value)
        with pytest.raises(DecodeError):
            loads(payload)
        return None

    deep_down(sys.getrecursionlimit() - len(inspect.stack(0)) - 60)


@pytest.mark.parametrize("kind", [list, dict])
def test_data_that_contains_itself_is_refused(kind: type) -> None:
    value: Any = kind()
    value.append(value) if kind is list else value.update(a=value)
    with pytest.raises(InvalidDataError, match="contains itself"):
        dumps(value)


def test_parts_shared_many_times_over_are_refused_before_they_multiply() -> None:
    value: Any = []
    for _ in range(MAX_DEPTH - 1):
        value = [value, value]
    with pytest.raises(InvalidDataError, match="more than 950,000 bytes"):
        dumps(value)


@pytest.mark.parametrize(
    "value",
    [
        "x" * (MAX_PAYLOAD_BYTES - 4),
        "\u20ac" * (MAX_PAYLOAD_BYTES // 3),
        ["x" * 100_000] * 1000,
        [b"x" * 100_000] * 1000,
        [2**80_000_000],
        [True] * MAX_PAYLOAD_BYTES,
        Decimal("1" * MAX_PAYLOAD_BYTES),
    ],
    ids=["str", "wide str", "strs", "bytes", "int", "list", "decimal"],
)
def test_too_much_data_is_refused_with_advice(value: Any) -> None:
    with pytest.raises(InvalidDataError, match="more than 950,000 bytes; store it elsewhere"):
        dumps(value)


def test_data_of_exactly_the_largest_size_comes_back() -> None:
    value = "x" * (MAX_PAYLOAD_BYTES - 5)
    assert len(dumps(value)) == MAX_PAYLOAD_BYTES
    assert loads(dumps(value)) == value


@given(st.binary(max_size=200))
@settings(max_examples=300)
def test_any_bytes_decode_to_something_or_raise_our_error(payload: bytes) -> None:
    try:
        loads(payload)
    except DecodeError:
        return


foreign = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.binary(max_size=20),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.builds(CBORTag, st.integers(0, 300) | st.integers(26470, 26500) | st.integers(0, 2**64 - 1), inner),
        st.dictionaries(st.text(max_size=3) | st.integers(), inner, max_size=4),
    ),
    max_leaves=8,
)


@given(foreign)
@settings(max_examples=300)
def test_any_tags_around_anything_decode_to_something_or_raise_our_error(value: Any) -> None:
    encoded = cbor2.dumps(value)
    try:
        decoded = loads(encoded)
    except DecodeError:
        return
    assert same(loads(dumps(decoded)), decoded)


@given(data, st.integers(0), st.integers(0, 7))
@settings(max_examples=200)
def test_a_flipped_bit_decodes_to_something_or_raises_our_error(value: Any, position: int, bit: int) -> None:
    encoded = bytearray(dumps(value))
    encoded[position % len(encoded)] ^= 1 << bit
    try:
        loads(bytes(encoded))
    except DecodeError:
        return


@given(data)
def test_truncated_bytes_raise_our_error(value: Any) -> None:
    encoded = dumps(value)
    for length in range(min(len(encoded), 50)):
        with pytest.raises(DecodeError):
            loads(encoded[:length])


@given(data, st.binary(min_size=1, max_size=3))
def test_bytes_after_the_end_raise_our_error(value: Any, more: bytes) -> None:
    with pytest.raises(DecodeError):
        loads(dumps(value) + more)


@pytest.mark.parametrize(
    "encoded",
    [
        cbor2.dumps(CBORTag(0, "2024-01-01T00:00:00Z")),
        cbor2.dumps(CBORTag(1, 0)),
        cbor2.dumps(CBORTag(4, [2**40, 1])),
        cbor2.dumps(CBORTag(28, [CBORTag(29, 0)])),
        cbor2.dumps(CBORTag(35, "(a+)+$")),
        cbor2.dumps(CBORTag(36, "Content-Type: text/plain\n\na")),
        cbor2.dumps(CBORTag(52, b"\x7f\0\0\1")),
        cbor2.dumps(CBORTag(256, ["aaaa", CBORTag(25, 0)])),
        cbor2.dumps(CBORTag(258, [1])),
        cbor2.dumps(CBORTag(260, b"\x7f\0\0\1")),
        cbor2.dumps(CBORTag(55799, 1)),
        cbor2.dumps(CBORTag(99, 1)),
        cbor2.dumps(cbor2.undefined),
        cbor2.dumps(cbor2.CBORSimpleValue(1)),
        bytes.fromhex("a18001"),  # a map whose key is a list
        bytes.fromhex("a1a001"),  # a map whose key is a map
        bytes.fromhex("a201010102"),  # a map with a key twice
        bytes.fromhex("9f01ff"),  # a list of unknown length
        bytes.fromhex("5f4101ff"),  # bytes of unknown length
        bytes.fromhex("61ff"),  # text that is not UTF-8
        cbor2.dumps(CBORTag(26481, [[1]])),  # a set with a list in it
        cbor2.dumps(CBORTag(26483, [[1, 1], [2, 3]])),  # pairs with a key twice
        cbor2.dumps(CBORTag(26483, [[1, 2], [2]])),  # pairs with a value missing
        cbor2.dumps(CBORTag(26483, [[CBORTag(26488, "sNaN")], [2]])),  # a key that cannot be one
        cbor2.dumps(CBORTag(26484, 1)),
        cbor2.dumps(CBORTag(26484, ["noon", 0, None])),
        cbor2.dumps(CBORTag(26484, [1, 0, None])),
        cbor2.dumps(CBORTag(26484, ["2024-01-01", 2, None])),
        cbor2.dumps(CBORTag(26484, ["2024-01-01", 0, 24 * 3600 * 10**6])),
        cbor2.dumps(CBORTag(26484, ["2024-01-01", 0, 10**40])),
        cbor2.dumps(CBORTag(26484, ["2024-01-01", 0, "0"])),
        cbor2.dumps(CBORTag(26485, "2024-13-01")),
        cbor2.dumps(CBORTag(26486, ["25:00", 0, None])),
        cbor2.dumps(CBORTag(26487, [10**30, 0, 0])),
        cbor2.dumps(CBORTag(26487, ["1", 0, 0])),
        cbor2.dumps(CBORTag(26488, 1.5)),
        cbor2.dumps(CBORTag(26488, "one")),
        cbor2.dumps(CBORTag(26489, b"short")),
        cbor2.dumps(CBORTag(26489, "text")),
        cbor2.dumps(CBORTag(26489, "sixteen letters.")),
        cbor2.dumps(CBORTag(26489, [0] * 16)),
        cbor2.dumps(CBORTag(26489, b"seventeen letters")),
        cbor2.dumps(CBORTag(26490, [1, 0])),
        cbor2.dumps(CBORTag(26490, [1.5, 2])),
        cbor2.dumps(CBORTag(26490, [1])),
        cbor2.dumps(CBORTag(26490, [2**100_000, 3])),
        cbor2.dumps(CBORTag(26490, [True, 3])),
        cbor2.dumps(2**MAX_INTEGER_BITS),
        cbor2.dumps([-(2**MAX_INTEGER_BITS) - 1]),
        cbor2.dumps(CBORTag(26487, [2**MAX_INTEGER_BITS, 0, 0])),
        cbor2.dumps({1: 2}),  # a number that is a key outside our tag, and so one before we see it
        cbor2.dumps({None: 2}),
        cbor2.dumps(dict.fromkeys(map(str, range(MAX_KEYS + 1)))),
        cbor2.dumps(CBORTag(26481, list(range(MAX_KEYS + 1)))),
        cbor2.dumps(CBORTag(26483, [1, 2])),
        cbor2.dumps(CBORTag(26483, [[], [], []])),
        cbor2.dumps(CBORTag(26480, "not a list")),
        b"",
        b"\x81" * 100_000,
        b"\xd9\x67\x70" * 100_000,
    ],
    ids=lambda encoded: encoded[:12].hex(),
)
def test_what_we_never_write_is_refused(encoded: bytes) -> None:
    with pytest.raises(DecodeError):
        loads(encoded)


@pytest.mark.parametrize(
    "header",
    [
        "9bffffffffffffffff",
        "9b00000000ffffffff",
        "bb00000000ffffffff",
        "5b00000000ffffffff",
        "7b00000000ffffffff",
        "c25b00000000ffffffff",
        "d967709b00000000ffffffff",
        "9bffffffffffffffff00" * 60,
    ],
)
def test_a_header_that_promises_gigabytes_takes_no_memory(header: str) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(DecodeError):
            loads(bytes.fromhex(header))
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()


class Bomb:
    def __reduce__(self) -> Any:
        return (pytest.fail, ("a pickle was loaded",))


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_is_refused_and_not_loaded(protocol: int) -> None:
    planted = pickle.dumps(Bomb(), protocol)
    with pytest.raises(DecodeError):
        loads(planted)
    with pytest.raises(DecodeError):
        unseal(planted, version=1)


def test_foreign_tags_are_those_that_cbor2_understands() -> None:
    understood = set()
    for tag in range(2**16):
        try:
            is_tag = isinstance(cbor2.loads(cbor2.dumps(CBORTag(tag, 0))), CBORTag)
        except cbor2.CBORError:
            is_tag = False
        if not is_tag:
            understood.add(tag)
    assert understood - set(codec._FOREIGN_TAGS) == {2, 3}


body = {b"key": [1, None, "text", 2.5, {b"x": True}], b"more": -1}


def test_a_sealed_body_comes_back() -> None:
    assert unseal(seal(1, body), version=1) == body


def test_every_damage_to_a_sealed_value_is_found() -> None:
    sealed = seal(1, body)
    for position in range(len(sealed)):
        for bit in range(8):
            damaged = bytearray(sealed)
            damaged[position] ^= 1 << bit
            with pytest.raises(DecodeError):
                unseal(bytes(damaged), version=1)
    for length in range(len(sealed)):
        with pytest.raises(DecodeError):
            unseal(sealed[:length], version=1)
    with pytest.raises(DecodeError):
        unseal(sealed + b"\0", version=1)


@given(st.binary(max_size=100))
def test_any_bytes_unseal_to_something_or_raise_our_error(value: bytes) -> None:
    with pytest.raises(SignalsError):
        unseal(value, version=1)


def test_an_intact_value_of_a_later_version_is_told_apart() -> None:
    with pytest.raises(NewerFormatError, match="format 2; this one reads 1"):
        unseal(seal(2, body), version=1)


def test_a_damaged_value_of_a_later_version_is_damaged() -> None:
    sealed = bytearray(seal(2, body))
    sealed[-1] ^= 1
    with pytest.raises(DecodeError):
        unseal(bytes(sealed), version=1)


def test_a_value_of_an_earlier_version_is_not_taken_for_a_current_one() -> None:
    with pytest.raises(DecodeError, match="earlier version"):
        unseal(seal(1, body), version=2)


def test_a_sealed_body_with_a_tag_or_a_pickle_inside_is_refused() -> None:
    for planted in (CBORTag(35, "a"), CBORTag(28, [CBORTag(29, 0)]), nested(MAX_DEPTH + 5)):
        with pytest.raises(DecodeError):
            unseal(seal(1, planted), version=1)


def test_dumping_leaves_the_data_as_it_was() -> None:
    value = {"a": [1, (2, {3})], uuid.UUID(int=5): random.Random(1).random()}
    before = repr(value)
    dumps(value)
    assert repr(value) == before
