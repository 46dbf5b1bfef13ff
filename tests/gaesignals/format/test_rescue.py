"""What a rescue task carries, and what it decides."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gaesignals.data.codec import seal
from gaesignals.errors import DecodeError, NewerFormatError
from gaesignals.format.entries import Record, Ref
from gaesignals.format.inline import Inline
from gaesignals.format.page import Page
from gaesignals.format.rescue import VERSION, Duty, Place, Rescue, duty, fill

RECORD = Record("id-1", 1_700_000_000_000_000, b"data", "tenant", 3, context="trace", wake_ms=0)
PLACE = Place(3, "epoch", "loss")


@pytest.mark.parametrize(
    "rescue",
    [
        Rescue((("a", RECORD),)),
        Rescue((("a", RECORD), ("b", replace(RECORD, id="id-2"))), is_first=True),
        Rescue((("a", RECORD),), PLACE, ticket="ticket"),
        Rescue((("grüße", RECORD),), died_ms=5, error="boom"),
    ],
)
def test_comes_back_from_its_bytes_as_it_was(rescue: Rescue) -> None:
    assert Rescue.from_bytes(rescue.to_bytes()) == rescue


def test_a_task_does_not_carry_its_own_name() -> None:
    rescue = Rescue((("a", replace(RECORD, safety="task7")),))
    assert Rescue.from_bytes(rescue.to_bytes()).messages == (("a", RECORD),)


@pytest.mark.parametrize(
    "body",
    [
        None,
        [],
        [[], {}],
        [[["a", RECORD.to_wire()]]],
        [[[1, RECORD.to_wire()]], {}],
        [[["a", ["id"]]], {}],
        [[["a", RECORD.to_wire()]], {"p": [64, "e", ""]}],
        [[["a", RECORD.to_wire()]], {"p": [-1, "e", ""]}],
        [[["a", RECORD.to_wire()]], {"p": [0, "", ""]}],
        [[["a", RECORD.to_wire()]], {"p": "x"}],
        [[["a", RECORD.to_wire()]], {"d": [0, ""]}],
        [[["a", RECORD.to_wire()]], {"d": 1}],
        [[["a", RECORD.to_wire()]], {"t": 1}],
    ],
)
def test_anything_else_is_not_one(body: object) -> None:
    with pytest.raises(DecodeError):
        Rescue.from_bytes(seal(VERSION, body))


def test_a_later_version_is_told_apart() -> None:
    with pytest.raises(NewerFormatError):
        Rescue.from_bytes(seal(VERSION + 1, []))


class TestTheDuty:
    FULL = Page("epoch", Inline.of([RECORD]), loss="loss")

    def decide(self, page: Page | None, *, place: Place | None = PLACE, tries: int = 0) -> Duty:
        return duty(place, page, tries=tries)

    def test_without_a_place_the_messages_are_sent(self) -> None:
        assert self.decide(self.FULL, place=None) is Duty.SEND

    def test_a_page_that_is_gone_or_another_has_them_no_more(self) -> None:
        assert self.decide(None) is Duty.SEND
        assert self.decide(replace(self.FULL, epoch="another")) is Duty.SEND

    @pytest.mark.parametrize("page", [FULL, Page("epoch", loss="loss").with_retries([Ref("r", 1, 1)])])
    def test_a_page_with_something_in_it_may_still_have_them(self, page: Page) -> None:
        assert self.decide(page) is Duty.KEPT
        assert self.decide(page, tries=50) is Duty.KEPT

    def test_a_page_with_nothing_in_it_is_done_with_them(self) -> None:
        assert self.decide(Page("epoch", loss="loss")) is Duty.DONE

    def test_an_empty_page_that_has_lost_something_may_have_lost_them(self) -> None:
        assert self.decide(Page("epoch", loss="other")) is Duty.SEND

    def test_a_loss_in_a_page_that_has_something_counts_from_the_fourth_try_on(self) -> None:
        """One lost segment must not send a whole backlog again."""
        answers = [self.decide(replace(self.FULL, loss="other"), tries=tries) for tries in range(5)]
        assert answers == [Duty.KEPT] * 3 + [Duty.SEND] * 2


def test_messages_fill_tasks_in_order() -> None:
    messages = [("a", replace(RECORD, id=f"id-{number}", payload=bytes(300))) for number in range(10)]
    rescues = fill(messages, max_bytes=2000)
    assert [message for rescue in rescues for message in rescue.messages] == messages
    assert all(len(rescue.to_bytes()) <= 2000 for rescue in rescues)
    assert 1 < len(rescues) < 5


def test_one_that_is_too_large_has_a_task_of_its_own() -> None:
    messages = [("a", RECORD), ("a", replace(RECORD, payload=bytes(5000))), ("a", RECORD)]
    assert [len(rescue.messages) for rescue in fill(messages, max_bytes=2000)] == [1, 1, 1]
