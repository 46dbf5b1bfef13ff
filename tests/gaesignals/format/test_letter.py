"""A page of dead letters: which of the letters of one message it keeps."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gaesignals.format.entries import Record
from gaesignals.format.letter import DeadLetter, DeadPage

OLD = DeadLetter(Record("0123456789abcdef", 1, b"\x01", receivers=("mail",), due_ms=5), 10, "broken")
REQUEUED = replace(OLD, record=replace(OLD.record, due_ms=12), died_ms=12)


@pytest.mark.parametrize("later", [REQUEUED, replace(OLD, died_ms=11), replace(REQUEUED, died_ms=9)])
def test_a_later_letter_takes_the_place_of_an_earlier_one_and_stays_whichever_comes_first(later: DeadLetter) -> None:
    assert DeadPage((OLD,)).with_letters([later]).letters == (later,)
    assert DeadPage((later,)).with_letters([OLD]).letters == (later,)


def test_of_two_that_died_at_once_the_one_that_is_added_stays() -> None:
    added = replace(OLD, error="broken again")
    assert DeadPage((OLD,)).with_letters([added]).letters == (added,)


def test_letters_of_other_receivers_stay_beside_it() -> None:
    other = replace(OLD, record=replace(OLD.record, receivers=("print",)), died_ms=99)
    assert DeadPage((other,)).with_letters([OLD]).letters == (other, OLD)
