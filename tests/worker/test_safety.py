"""What stands behind durable messages: how many tasks there are, and how often they had to bring something."""

from __future__ import annotations

import pytest
from google.appengine.api import memcache

from gaesignals import Receivers, Signal
from gaesignals.mailbox.current import use_mailbox
from gaesignals.tasks.queues import Queues
from gaesignals.testing import ManualClock
from worker.safety import SECONDS, UNKNOWN_SECONDS, SafetyCheck, TaskCounts

from .conftest import Client, MakeClient


class Counts:
    """Queues that say how many tasks they have, or do not."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.answer: int | None = 3

    def count(self, queue: str) -> int | None:
        self.asked.append(queue)
        return self.answer


def test_both_queues_are_asked_and_not_again_for_ten_seconds() -> None:
    clock, counts = ManualClock(), Counts()
    check = SafetyCheck(counts, Queues(), clock=clock)
    assert check.look() == check.look() == TaskCounts(3, 3)
    assert counts.asked == ["signals-safety", "signals-later"]
    counts.answer = 4
    clock.advance(SECONDS)
    assert check.look() == TaskCounts(4, 4)


def test_queues_that_do_not_say_are_asked_once_a_minute() -> None:
    clock, counts = ManualClock(), Counts()
    counts.answer = None
    check = SafetyCheck(counts, Queues(), clock=clock)
    for _ in range(2):
        assert check.look() == TaskCounts()
        clock.advance(UNKNOWN_SECONDS - 1)
    assert counts.asked == ["signals-safety"]
    clock.advance(1)
    check.look()
    assert counts.asked == ["signals-safety"] * 2


@pytest.mark.parametrize("counts", [None, object()])
def test_where_nobody_can_count_nothing_is_known(counts: object) -> None:
    assert SafetyCheck(counts, Queues()).look() == TaskCounts()


class TestThePage:
    @pytest.fixture
    def client(self, make_client: MakeClient) -> Client:
        receivers = Receivers()
        for name in ("a", "b"):
            receivers.connect(name, lambda data: None, id=name, reliable=True)
        return make_client(receivers)

    def bring_back(self, client: Client) -> None:
        """A durable message of a is forgotten, and its task brings it back."""
        mailbox = client.worker.extensions["gaesignals"]
        with use_mailbox(mailbox):
            Signal("a", durable=True).send(7)
        (queued,) = client.tasks.waiting("signals-safety")
        assert memcache.flush_all()
        assert client.rescue(queued.task.body, queue="signals-safety").json == {"rescue": "done", "sent": 1}
        client.tasks.finish(queued)

    def test_counts_tasks_and_what_they_brought_back(self, client: Client) -> None:
        with use_mailbox(client.worker.extensions["gaesignals"]):
            Signal("b").send(delay_seconds=60)
        self.bring_back(client)
        status = client.http.get("/admin/status").json
        assert status["safety"] == {"tasks": 1, "later": 1, "brought": 1}
        assert sum(point["brought"] or 0 for point in status["history"]["points"]) == 1
        text = " ".join(client.browse("/admin/").html.get_text(" ").split())
        assert "Safety tasks 1" in text
        assert "Brought back 1" in text

    def test_of_a_name_says_what_was_brought_back_of_it(self, client: Client) -> None:
        self.bring_back(client)
        assert "1 durable message that the store forgot" in client.browse("/admin/name?name=a").text
        assert "that the store forgot" not in client.browse("/admin/name?name=b").text
        assert "that the store forgot" not in client.browse("/admin/name?name=nobodys").text

    def test_says_nothing_of_it_where_nothing_was(self, client: Client) -> None:
        text = client.browse("/admin/").text
        assert "Safety tasks" in text
        assert "Brought back" not in text

    def test_messages_for_later_are_not_brought_back(self, client: Client) -> None:
        with use_mailbox(client.worker.extensions["gaesignals"]):
            Signal("a").send(delay_seconds=0)
        (queued,) = client.tasks.waiting("signals-later")
        client.rescue(queued.task.body)
        assert client.http.get("/admin/status").json["safety"]["brought"] == 0
