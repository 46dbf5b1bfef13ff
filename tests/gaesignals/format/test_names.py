"""Pages that list names: an entry that cannot be hides no other, and goes no further."""

from __future__ import annotations

from typing import Any

import pytest

from gaesignals.data import codec
from gaesignals.errors import DecodeError, InvalidNameError
from gaesignals.format import letter, pauses, slot
from gaesignals.format.letter import DeadNames
from gaesignals.format.names import is_name, listed
from gaesignals.format.pauses import PausedNames
from gaesignals.format.slot import Slot
from gaesignals.template import check_name

VERSIONS = {Slot: slot.VERSION, DeadNames: letter.VERSION, PausedNames: pauses.VERSION}
NOW_MS = 1_700_000_000_000
GOOD = {"a": NOW_MS, "\u00e9" * 100: 0, "b" * 200: 2**47 - 1}
BAD_NAMES: list[Any] = ["", "a" * 201, "\u00e9" * 101, "a\nb", "\x7f", "\x85", b"a"]
BAD_NUMBERS: list[Any] = [-1, 2**47, 2**63, 1.5, True, None, "1", [], {}]


@pytest.mark.parametrize("page", [Slot, DeadNames, PausedNames], ids=lambda page: page.__name__)
@pytest.mark.parametrize("bad", [*((name, NOW_MS) for name in BAD_NAMES), *(("x", number) for number in BAD_NUMBERS)])
def test_an_absurd_entry_is_left_out_and_said(
    page: Any, bad: tuple[Any, Any], caplog: pytest.LogCaptureFixture
) -> None:
    read = page.from_bytes(codec.seal(VERSIONS[page], {**GOOD, bad[0]: bad[1]}))
    assert read == page(GOOD)
    assert page.from_bytes(read.to_bytes()) == read
    (record,) = caplog.records
    assert record.__dict__["signals_count"] == 1
    assert all(name.isascii() and name.isprintable() for name in record.__dict__["signals_names"])


@pytest.mark.parametrize("page", [Slot, DeadNames, PausedNames], ids=lambda page: page.__name__)
def test_what_lists_no_names_at_all_is_a_decode_error(page: Any) -> None:
    for body in (None, [], ["a"], 1, "a"):
        with pytest.raises(DecodeError):
            page.from_bytes(codec.seal(VERSIONS[page], body))


def test_thousands_of_absurd_entries_are_one_short_line(caplog: pytest.LogCaptureFixture) -> None:
    assert listed({f"{number}\n" * 50: 1 for number in range(5000)}, what="a page") == {}
    (record,) = caplog.records
    assert record.__dict__["signals_count"] == 5000
    assert len(str(record.__dict__["signals_names"])) < 500


@pytest.mark.parametrize("name", [*GOOD, "\u202e", "a b", "\ud800", *BAD_NAMES, 1, None])
def test_a_name_is_one_where_a_signal_may_have_it(name: Any) -> None:
    try:
        check_name(name)
    except InvalidNameError:
        assert not is_name(name)
    else:
        assert is_name(name)
