"""The log of the local cloud tells which signal went where, in one line an event."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from devserver.processes.narrator import Narrator, narrate
from gaesignals import Receivers, Signal, deliver, send_many
from gaesignals.errors import InvalidOptionError
from gaesignals.mailbox.box import Mailbox
from gaesignals.mailbox.current import use_mailbox
from gaesignals.testing import MemoryStore


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture(autouse=True)
def mailbox(told: list[str]) -> Any:
    with use_mailbox(Mailbox(MemoryStore(), observer=Narrator(told.append))) as mailbox:
        yield mailbox


def fail(data: object) -> None:
    raise ValueError("no\nluck")


def take(data: object) -> None:
    pass


def test_a_send_is_one_line_with_names_and_counts(told: list[str]) -> None:
    send_many([("paid", 1), ("viewed", 2), ("viewed", 3)])
    assert told == ["sent 1 × paid, 2 × viewed"]


def test_a_send_that_replaces_says_what_it_replaced(told: list[str]) -> None:
    for _ in range(2):
        Signal("paid", latest=True).send()
    assert told == ["sent 1 × paid", "replaced 1 × paid", "sent 1 × paid"]


def test_a_send_of_many_names_does_not_name_them_all(told: list[str]) -> None:
    send_many([(f"n{number}", None) for number in range(100)])
    assert told == ["sent 1 × n0, 1 × n1, 1 × n2, 1 × n3 and 96 more"]


def test_a_delivery_is_one_line_with_names_receivers_counts_and_errors(told: list[str]) -> None:
    receivers = Receivers()
    receivers.connect("paid", take, reliable=True, id="shop.take")
    receivers.connect("bad", fail, reliable=True, id="shop.fail")
    send_many([("paid", 1), ("paid", 2), ("bad", 3)])
    deliver(receivers)
    assert told[1:] == [
        "delivered 2 × paid to shop.take; 1 failed, 1 to be tried again; bad: ValueError: no luck (shop.fail)"
    ]


def test_a_delivery_without_success_tells_the_failures_alone(told: list[str]) -> None:
    send_many([("bad", 3)])
    deliver([("bad", fail)])
    assert told[1].startswith("1 failed; bad: ValueError: no luck (")


def test_a_delivery_that_finds_nothing_is_not_told(told: list[str]) -> None:
    deliver([("paid", take)])
    assert told == []


def test_what_one_delivery_handled_is_not_told_of_the_next(told: list[str]) -> None:
    for _ in range(2):
        send_many([("paid", 1)])
        deliver([("paid", take)])
    assert told[1] == told[3]


def test_a_worker_has_a_mailbox_of_its_own_that_is_watched_too(capsys: pytest.CaptureFixture[str]) -> None:
    own = Mailbox(MemoryStore())
    narrate(SimpleNamespace(extensions={"gaesignals": own}))
    own.observer.sent(["a"])
    assert capsys.readouterr().out == "sent 1 × a\n"


def test_an_app_of_any_kind_can_be_served(mailbox: Mailbox, capsys: pytest.CaptureFixture[str]) -> None:
    narrate(lambda environ, start_response: [])
    mailbox.observer.sent(["a"])
    assert capsys.readouterr().out == "sent 1 × a\n"


def test_a_setting_that_cannot_be_used_is_told_and_ends_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse() -> Mailbox:
        raise InvalidOptionError("no such namespace")

    monkeypatch.setattr("devserver.processes.narrator.current_mailbox", refuse)
    narrate(None)
    assert capsys.readouterr().out == "no such namespace\n"
