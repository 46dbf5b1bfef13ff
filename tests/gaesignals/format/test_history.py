"""Counts add up whoever counted them, what nobody counted is not zero, and what was planted costs little."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from gaesignals.data import codec
from gaesignals.errors import DecodeError, NewerFormatError
from gaesignals.format.counts import WAIT_BOUNDS, WAITS, Field, added, percentile, wait_field
from gaesignals.format.history import (
    EVER,
    EVERYTHING,
    HOURS,
    MAX_BYTES,
    MAX_LABELS,
    MAX_MARKS,
    MINUTES,
    Delta,
    Span,
    SpanKey,
    deltas,
    label_of,
    shard_of,
    span_from_bytes,
)

LABEL = label_of("receiver", "shop.charge")
MINUTE_MS = 60_000
HOUR_MS = 3_600_000


def span(**cells: int) -> Span:
    delta = Delta()
    delta.add(LABEL, 7, {Field[name.upper()]: count for name, count in cells.items()})
    return Span(5, 1_000).with_added(delta, 99)


class TestCounts:
    def test_add_up_with_fields_that_nobody_here_knows(self) -> None:
        assert added([{Field.SENT: 1, 60: 5}, {Field.SENT: 2}]) == {Field.SENT: 3, 60: 5}

    def test_of_a_histogram_tell_about_what_most_did_not_exceed(self) -> None:
        cell = added({wait_field(seconds): 1} for seconds in [0.3] * 90 + [20.0] * 10)
        assert 0.1 < (percentile(cell, WAITS, WAIT_BOUNDS, 50) or 0) <= 0.5
        assert 10 < (percentile(cell, WAITS, WAIT_BOUNDS, 95) or 0) <= 30

    def test_of_nothing_tell_nothing(self) -> None:
        assert percentile({}, WAITS, WAIT_BOUNDS, 50) is None

    def test_beyond_the_last_bound_are_told_as_that(self) -> None:
        assert percentile({wait_field(10.0**6): 3}, WAITS, WAIT_BOUNDS, 95) == WAIT_BOUNDS[-1]

    @pytest.mark.parametrize(("seconds", "bucket"), [(0.0, 0), (0.1, 0), (0.11, 1), (21_600.0, 9), (21_601.0, 10)])
    def test_fall_into_the_bucket_whose_bound_they_do_not_exceed(self, seconds: float, bucket: int) -> None:
        assert wait_field(seconds) == WAITS + bucket


class TestASpan:
    def test_comes_back_as_it_was_stored(self) -> None:
        found = span(delivered=3, handler_us=2**40)
        assert span_from_bytes(MINUTES, 5, found.to_bytes()) == found

    def test_knows_what_was_counted_from_what_nobody_counted(self) -> None:
        found = span(delivered=3)
        assert found.cell(LABEL, 7) == {Field.DELIVERED: 3}
        assert found.cell(b"another.", 7) == {}
        assert found.cell(LABEL, 8) is None

    def test_adds_what_several_instances_counted(self) -> None:
        delta = Delta()
        delta.add(LABEL, 7, {Field.DELIVERED: 2})
        assert span(delivered=3).with_added(delta, 1).cell(LABEL, 7) == {Field.DELIVERED: 5}

    def test_remembers_the_last_marks_alone(self) -> None:
        found = span()
        for mark in range(MAX_MARKS):
            found = found.with_added(Delta(), mark)
        assert found.marks == tuple(range(MAX_MARKS))

    def test_has_room_for_so_many_labels_and_goes_on_with_those_it_has(self) -> None:
        delta = Delta()
        for number in range(MAX_LABELS + 5):
            delta.add(label_of("name", str(number)), 0, {Field.SENT: 1})
        full = Span(5, 0).with_added(delta, 1)
        assert len(full.cells) == MAX_LABELS
        assert len(full.with_added(delta, 2).cells) == MAX_LABELS
        assert full.with_added(delta, 2).cell(label_of("name", "0"), 0) == {Field.SENT: 2}

    def test_is_within_its_bounds_when_it_is_full(self) -> None:
        delta = Delta()
        for number in range(MAX_LABELS):
            for slot in range(60):
                delta.add(label_of("name", str(number)), slot, dict.fromkeys(range(36), 50_000))
        assert len(Span(5, 0).with_added(delta, 1).to_bytes()) < MAX_BYTES


def planted(change: Callable[[list[Any]], object]) -> bytes:
    body = [5, 1_000, [7], [[LABEL, [[7, [1, 3]]]]], [99]]
    change(body)
    return codec.seal(1, body)


PLANTED = {
    "another hour": lambda body: body.__setitem__(0, 6),
    "no list": lambda body: body.__setitem__(3, 3),
    "a slot that is none": lambda body: body[2].append(60),
    "a slot of a cell that is none": lambda body: body[3][0][1].append([60, []]),
    "a negative count": lambda body: body[3][0][1].__setitem__(0, [7, [1, -3]]),
    "a count that is none": lambda body: body[3][0][1].__setitem__(0, [7, [1, True]]),
    "a huge count": lambda body: body[3][0][1].__setitem__(0, [7, [1, 2**50]]),
    "half a count": lambda body: body[3][0][1].__setitem__(0, [7, [1]]),
    "a cell of too many fields": lambda body: body[3][0][1].__setitem__(0, [7, [1, 1] * 65]),
    "a long label": lambda body: body[3][0].__setitem__(0, b"x" * 9),
    "too many slots": lambda body: body[3][0].__setitem__(1, [[7, []]] * 61),
    "too many labels": lambda body: body.__setitem__(3, body[3] * 65),
    "too many marks": lambda body: body.__setitem__(4, [1] * 33),
}


@pytest.mark.parametrize("change", PLANTED.values(), ids=PLANTED)
def test_a_span_that_cannot_be_is_not_read(change: Callable[[list[Any]], object]) -> None:
    assert span_from_bytes(MINUTES, 5, planted(lambda body: None)).cell(LABEL, 7) == {1: 3}
    with pytest.raises(DecodeError):
        span_from_bytes(MINUTES, 5, planted(change))


def test_a_large_value_is_not_even_looked_into() -> None:
    with pytest.raises(DecodeError, match="far too large"):
        span_from_bytes(MINUTES, 5, b"x" * (MAX_BYTES + 1))


def test_a_newer_span_is_left_alone() -> None:
    with pytest.raises(NewerFormatError):
        span_from_bytes(MINUTES, 5, codec.seal(2, []))


def test_damage_is_an_error_of_ours_and_nothing_else() -> None:
    whole = span(delivered=3).to_bytes()
    chance = random.Random(7)
    for _ in range(200):
        damaged = bytearray(whole)
        damaged[chance.randrange(len(damaged))] ^= 1 << chance.randrange(8)
        with pytest.raises((DecodeError, NewerFormatError)):
            span_from_bytes(MINUTES, 5, bytes(damaged))


class TestPlaces:
    def test_of_a_minute_are_one_for_each_grain_and_shard(self) -> None:
        at_ms = 30 * HOUR_MS + 7 * MINUTE_MS
        found = deltas(at_ms, {EVERYTHING: {Field.SENT: 1}, LABEL: {Field.DELIVERED: 2}}, [0, shard_of(LABEL)])
        assert {(place.grain, place.period, place.shard) for place in found} == {
            (MINUTES, 30, 0),
            (MINUTES, 30, shard_of(LABEL)),
            (HOURS, 1, 0),
            (HOURS, 1, shard_of(LABEL)),
            (EVER, 0, 0),
            (EVER, 0, shard_of(LABEL)),
        }
        assert found[SpanKey(MINUTES, 30, 0)].cells == {EVERYTHING: {7: {Field.SENT: 1}}}
        assert found[SpanKey(HOURS, 1, shard_of(LABEL))].cells == {LABEL: {6: {Field.DELIVERED: 2}}}

    def test_are_known_where_nothing_was_counted(self) -> None:
        found = deltas(0, {}, [0, 3])
        assert {place: delta.heard for place, delta in found.items()} == {
            SpanKey(grain, 0, shard): {0} for grain in (MINUTES, HOURS) for shard in (0, 3)
        }

    def test_have_keys_of_their_own_that_are_short(self) -> None:
        places = [SpanKey(grain, 500_000, shard) for grain in (MINUTES, HOURS, EVER) for shard in range(5)]
        assert len({place.key for place in places}) == len(places)
        assert all(place.key.startswith(b"gs:h:") and len(place.key) < 40 for place in places)
