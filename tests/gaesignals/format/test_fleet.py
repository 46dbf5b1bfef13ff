"""The page of the fleet is short whoever writes to it, and what cannot be is not read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from gaesignals.data import codec
from gaesignals.errors import DecodeError, NewerFormatError
from gaesignals.format.fleet import (
    FORGET_MS,
    MAX_BYTES,
    MAX_DELIVERIES,
    MAX_ERRORS,
    MAX_INSTANCES,
    MAX_TEXT,
    Fleet,
    Instance,
    LastError,
    News,
    PastDelivery,
    WorkInHand,
)

WORK = WorkInHand("order_paid", 3, 1_000, 5, 16)
ONE = Instance("6ff64563", 1, "20261128t", 1_000, 90_000, works=(WORK,))
DELIVERY = PastDelivery(2_000, 150, "task", "6ff64563", 4, ("a", "b", "c"), "ada@example.com", {"delivered": 4})
LABEL = b"12345678"
NEWS = News(ONE, (DELIVERY,), {LABEL: LastError(3_000, "ValueError: no")})


def fleet(*news: News) -> Fleet:
    found = Fleet()
    for number, each in enumerate(news):
        found = found.with_news(each, number)
    return found


def test_it_comes_back_as_it_was_stored() -> None:
    (read,) = [Fleet.from_bytes(fleet(NEWS).to_bytes())]
    assert read.instances == (ONE,)
    assert read.deliveries[0].counts["delivered"] == 4
    assert replace(read.deliveries[0], counts={}) == replace(DELIVERY, counts={})
    assert (read.errors, read.marks) == (NEWS.errors, (0,))


def test_an_instance_stands_there_once_as_it_told_last() -> None:
    later = replace(ONE, heard_ms=150_000, works=())
    other = replace(ONE, pid=2, heard_ms=100_000)
    assert fleet(NEWS, News(other), News(later)).instances == (later, other)


def test_whom_nobody_heard_of_for_an_hour_is_forgotten() -> None:
    late = replace(ONE, pid=2, heard_ms=ONE.heard_ms + FORGET_MS)
    assert fleet(NEWS, News(late)).instances == (late,)


def test_the_last_error_is_the_latest_whoever_told_it_first() -> None:
    earlier = News(ONE, errors={LABEL: LastError(2_000, "before")})
    assert fleet(NEWS, earlier).errors[LABEL].text == "ValueError: no"


def test_it_is_short_whatever_is_told() -> None:
    text = "\U0001f600" * 1_000
    found = Fleet()
    for number in range(2 * MAX_INSTANCES):
        instance = Instance(text, number, text, 0, 0, works=(replace(WORK, name=text),) * 50)
        delivery = replace(DELIVERY, which=(text,) * 3, by=text)
        errors = {b"%08d" % index: LastError(0, text) for index in range(number, number + 5)}
        found = found.with_news(News(instance, (delivery,) * 3, errors), number)
    assert (len(found.instances), len(found.deliveries), len(found.errors)) == (
        MAX_INSTANCES,
        MAX_DELIVERIES,
        MAX_ERRORS,
    )
    stored = found.to_bytes()
    assert len(stored) < MAX_BYTES
    assert Fleet.from_bytes(stored).instances[0].id == "\U0001f600" * (MAX_TEXT // 4)


def test_text_that_utf8_cannot_express_is_told_as_well_as_can_be() -> None:
    told = News(ONE, errors={LABEL: LastError(1, "caf\udce9")})
    assert Fleet.from_bytes(fleet(told).to_bytes()).errors[LABEL].text == "caf?"


def planted(change: Callable[[list[Any]], object]) -> bytes:
    body = codec.unseal(fleet(NEWS).to_bytes(), version=1)
    change(body)
    return codec.seal(1, body)


PLANTED = {
    "no list": lambda body: body.__setitem__(0, 3),
    "too many instances": lambda body: body.__setitem__(0, body[0] * 101),
    "too many deliveries": lambda body: body.__setitem__(1, body[1] * 51),
    "a time beyond all dates": lambda body: body[0][0][2].__setitem__(1, 2**47),
    "a delivery in hand since then": lambda body: body[0][0][3][0].__setitem__(2, 2**47),
    "a negative pid": lambda body: body[0][0][2].__setitem__(0, -1),
    "an id that is none": lambda body: body[0][0].__setitem__(0, 7),
    "a long text": lambda body: body[0][0].__setitem__(1, "x" * 301),
    "a delivery without names": lambda body: body[1][0].__setitem__(1, []),
    "a name that is none": lambda body: body[1][0][1].__setitem__(3, b"a"),
    "counts that are none": lambda body: body[1][0].__setitem__(2, [1, 2]),
    "an error that is none": lambda body: body[2].__setitem__(0, [b"12345678", [1]]),
    "a work that is none": lambda body: body[0][0].__setitem__(3, [["a", 1, 2, 3]]),
}


@pytest.mark.parametrize("change", PLANTED.values(), ids=PLANTED)
def test_what_cannot_be_is_not_read(change: Callable[[list[Any]], object]) -> None:
    assert Fleet.from_bytes(planted(lambda body: None)).instances
    with pytest.raises(DecodeError):
        Fleet.from_bytes(planted(change))


def test_a_large_or_newer_value_is_not_looked_into() -> None:
    with pytest.raises(DecodeError, match="far too large"):
        Fleet.from_bytes(b"x" * (MAX_BYTES + 1))
    with pytest.raises(NewerFormatError):
        Fleet.from_bytes(codec.seal(2, []))
