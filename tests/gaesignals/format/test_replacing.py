"""Which messages a newer one takes the place of."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gaesignals.errors import DecodeError
from gaesignals.format.entries import Entry, Record, Ref, entries_from_bytes
from gaesignals.format.inline import NOTHING, Inline
from gaesignals.format.latest import Latest
from gaesignals.format.page import FULL_MESSAGES, Page
from gaesignals.format.replacing import newest, without_replaced

PLAIN = Record("plain", 1, b"")
OLD = Record("old", 1, b"", is_latest=True)
BODY = Ref("body", 3000, 1, latest=Latest(1))
NEW = Latest(2)


def left(*entries: Entry, latest: Latest = NEW) -> list[Entry]:
    page, replaced = without_replaced(Page("epoch", messages=Inline.of(entries)), latest)
    left = page.messages.decoded()
    assert sorted(map(str, (*left, *replaced))) == sorted(map(str, entries))
    return list(left)


def test_older_ones_give_way_whether_inline_or_in_a_body() -> None:
    assert left(OLD, BODY) == []


def test_what_is_not_of_the_kind_stays_in_order() -> None:
    ref = Ref("bundle", 100, 2)

    assert left(PLAIN, OLD, ref, BODY) == [PLAIN, ref]


def test_a_newer_one_stays() -> None:
    newer = replace(OLD, sent_us=3)

    assert left(newer, OLD) == [newer]


def test_another_namespace_is_another_signal() -> None:
    tenant = replace(OLD, namespace="tenant")

    assert left(tenant, OLD) == [tenant]
    assert left(tenant, OLD, latest=Latest(2, "tenant")) == [OLD]


def test_a_full_page_stays_as_it_was_read() -> None:
    full = [replace(OLD, id=f"old {number}") for number in range(FULL_MESSAGES)]

    assert left(*full) == full


def test_a_page_whose_messages_cannot_be_read_stays_as_it_was_read() -> None:
    page = Page("epoch", messages=replace(Inline.of([OLD, PLAIN]), count=3))

    assert without_replaced(page, NEW) == (page, ())


def test_leases_segments_and_retries_stay() -> None:
    retry = replace(BODY, key="retry", not_before_ms=5)
    page = Page("epoch", messages=Inline.of([OLD]), first=1, next=3, sealed_count=32, retries=(retry,))

    assert without_replaced(page, NEW)[0] == replace(page, messages=NOTHING)


def test_of_one_send_the_last_of_each_name_is_left() -> None:
    outgoing = [(name, replace(OLD, id=id_)) for name, id_ in (("a", "1"), ("b", "2"), ("a", "3"))]
    plain = [("a", PLAIN), ("a", replace(PLAIN, id="other"))]

    assert newest([*outgoing, *plain]) == [*outgoing[1:], *plain]


def test_what_is_stored_says_what_it_takes_to_replace_it() -> None:
    durable = replace(OLD, safety="task", namespace="tenant")
    body = replace(BODY, latest=durable.latest)

    stored = entries_from_bytes(Inline.of([durable, body, PLAIN]).to_bytes())

    assert [entry.latest for entry in stored] == [Latest(1, "tenant", "task")] * 2 + [None]


@pytest.mark.parametrize("wire", [None, [1, ""], [-1, "", ""], ["1", "", ""], [1, 2, ""], [1, "", None]])
def test_a_body_that_says_something_else_cannot_be_read(wire: object) -> None:
    with pytest.raises(DecodeError):
        Ref.from_wire([3000, "body", 1, 0, wire])
