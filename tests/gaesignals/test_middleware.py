"""Delivery before requests."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest
from webtest import TestApp

from gaesignals.errors import InvalidMappingError, InvalidNameError, InvalidOptionError, SignalsError
from gaesignals.mailbox.box import Mailbox
from gaesignals.mailbox.current import use_mailbox
from gaesignals.middleware import SignalsMiddleware
from gaesignals.receivers import Receivers
from gaesignals.sending import send_many
from gaesignals.signal import Signal
from gaesignals.testing import ManualClock, MemoryStore


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"answered"]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def store(clock: ManualClock) -> Iterator[MemoryStore]:
    store = MemoryStore(clock=clock)
    with use_mailbox(Mailbox(store, clock=clock, sleep=clock.advance)):
        yield store


def test_what_waits_is_delivered_before_the_request_is_answered(store: MemoryStore) -> None:
    events: list[Any] = []

    def app(environ: Any, start_response: Any) -> Iterable[bytes]:
        events.append("request")
        return application(environ, start_response)

    client = TestApp(SignalsMiddleware(app, [("my_signal", events.append)]))
    Signal("my_signal").send("data")
    assert client.get("/").text == "answered"
    client.get("/")
    assert events == ["data", "request", "request"]


def test_a_request_with_nothing_waiting_costs_one_call(store: MemoryStore) -> None:
    TestApp(SignalsMiddleware(application, {f"name_{number}": print for number in range(100)})).get("/")
    assert len(store.calls) == 1


@pytest.mark.parametrize("path", ["/_ah/warmup", "/_ah/start", "/_ah/health"])
def test_app_engines_own_requests_are_passed_on_without_a_delivery(store: MemoryStore, path: str) -> None:
    client = TestApp(SignalsMiddleware(application, [("a", print)]))
    assert client.get(path).text == "answered"
    assert store.calls == []


@pytest.mark.parametrize("path", ["/", "/x/_ah/warmup", "/_ahead"])
def test_other_requests_deliver(store: MemoryStore, path: str) -> None:
    TestApp(SignalsMiddleware(application, [("a", print)])).get(path)
    assert len(store.calls) == 1


def test_the_path_counts_from_the_root_where_an_app_is_mounted(store: MemoryStore) -> None:
    client = TestApp(SignalsMiddleware(application, [("a", print)]))
    client.get("/warmup", extra_environ={"SCRIPT_NAME": "/_ah"})
    assert store.calls == []
    client.get("/_ah/warmup", extra_environ={"SCRIPT_NAME": "/shop"})
    assert len(store.calls) == 1


def test_a_request_is_answered_though_memcache_fails(store: MemoryStore, caplog: pytest.LogCaptureFixture) -> None:
    client = TestApp(SignalsMiddleware(application, [("a", print)]))
    store.before = lambda call: call.keys
    assert client.get("/").text == "answered"
    assert [record.levelname for record in caplog.records if "before a request" in record.message] == ["ERROR"]


def test_a_request_is_answered_though_the_store_breaks(store: MemoryStore, caplog: pytest.LogCaptureFixture) -> None:
    def break_down(call: object) -> None:
        raise ZeroDivisionError

    client = TestApp(SignalsMiddleware(application, [("a", print)]))
    store.before = break_down
    assert client.get("/").text == "answered"
    assert "ZeroDivisionError" in caplog.text


def test_a_request_is_answered_though_a_handler_fails(store: MemoryStore, caplog: pytest.LogCaptureFixture) -> None:
    def fail(data: Any) -> None:
        raise RuntimeError("the handler's own")

    client = TestApp(SignalsMiddleware(application, [("a", fail)]))
    Signal("a").send()
    with caplog.at_level(logging.ERROR):
        assert client.get("/").text == "answered"
    assert "the handler's own" in caplog.text


def test_what_the_application_raises_is_its_own_affair(store: MemoryStore) -> None:
    def app(environ: Any, start_response: Any) -> Iterable[bytes]:
        raise SignalsError("from a send in the view")

    with pytest.raises(SignalsError, match="from a send in the view"):
        TestApp(SignalsMiddleware(app, [("a", print)])).get("/")


def test_a_delivery_stops_when_its_time_is_up_and_the_next_request_goes_on(
    store: MemoryStore, clock: ManualClock
) -> None:
    handled: list[Any] = []

    def slow(data: Any) -> None:
        clock.advance(0.6)
        handled.append(data)

    client = TestApp(SignalsMiddleware(application, [("a", slow)]))
    send_many(("a", number) for number in range(5))
    client.get("/")
    assert len(handled) == 2
    client.get("/")
    client.get("/")
    assert sorted(handled) == [0, 1, 2, 3, 4]


def test_max_seconds_can_be_chosen_or_left_open(store: MemoryStore, clock: ManualClock) -> None:
    handled: list[Any] = []

    def slow(data: Any) -> None:
        clock.advance(0.6)
        handled.append(data)

    send_many(("a", number) for number in range(5))
    TestApp(SignalsMiddleware(application, [("a", slow)], max_seconds=0.1)).get("/")
    assert len(handled) == 1
    TestApp(SignalsMiddleware(application, [("a", slow)], max_seconds=None)).get("/")
    assert len(handled) == 5


def test_a_reliable_middleware_retries_what_failed(store: MemoryStore, clock: ManualClock) -> None:
    attempts: list[Any] = []

    def fail_once(data: Any) -> None:
        attempts.append(data)
        if len(attempts) == 1:
            raise RuntimeError

    client = TestApp(SignalsMiddleware(application, [("a", fail_once)], reliable=True))
    Signal("a").send("data")
    client.get("/")
    clock.advance(3600)
    client.get("/")
    assert attempts == ["data", "data"]


def test_receivers_that_are_connected_later_are_delivered(store: MemoryStore) -> None:
    handled: list[Any] = []
    receivers = Receivers()
    client = TestApp(SignalsMiddleware(application, receivers, reliable=True))
    receivers.connect("a", handled.append)
    Signal("a").send(1)
    client.get("/")
    assert handled == [1]


def test_names_limit_the_deliveries_and_patterns_need_them(store: MemoryStore) -> None:
    handled: list[Any] = []
    receivers = Receivers()
    receivers.connect("user_{user_id}", lambda data, user_id: handled.append(user_id))
    with pytest.raises(InvalidOptionError, match="patterns"):
        SignalsMiddleware(application, receivers)
    client = TestApp(SignalsMiddleware(application, receivers, names=iter(["user_1", Signal("user_2")])))
    send_many([("user_1", None), ("user_2", None), ("user_3", None)])
    client.get("/")
    client.get("/")
    assert sorted(handled) == ["1", "2"]


def test_a_pattern_that_is_connected_later_is_logged_and_fails_no_request(
    store: MemoryStore, caplog: pytest.LogCaptureFixture
) -> None:
    receivers = Receivers()
    client = TestApp(SignalsMiddleware(application, receivers))
    receivers.connect("user_{user_id}", lambda data, user_id: None)
    assert client.get("/").text == "answered"
    assert "patterns" in caplog.text


@pytest.mark.parametrize(
    "options",
    [
        {"max_seconds": 0},
        {"max_seconds": -1},
        {"max_seconds": math.nan},
        {"max_seconds": "1"},
        {"max_seconds": True},
        {"lease_seconds": 0},
        {"lease_seconds": None},
        {"reliable": 1},
        {"names": "a"},
        {"names": 5},
        {"names": Signal("a")},
        {"retries": 5},
    ],
    ids=str,
)
def test_a_bad_option_is_refused_when_the_middleware_is_made(store: MemoryStore, options: dict[str, Any]) -> None:
    with pytest.raises(InvalidOptionError):
        SignalsMiddleware(application, [("a", print)], **options)
    assert store.calls == []


def test_a_bad_mapping_name_or_application_is_refused_when_the_middleware_is_made() -> None:
    with pytest.raises(InvalidMappingError):
        SignalsMiddleware(application, "a")  # type: ignore[arg-type]  # the mistake
    with pytest.raises(InvalidMappingError):
        SignalsMiddleware(application, [("a", None)])  # type: ignore[list-item]  # the mistake
    with pytest.raises(InvalidMappingError, match="not a WSGI application"):
        SignalsMiddleware(None, [("a", print)])  # type: ignore[arg-type]  # the mistake
    with pytest.raises(InvalidNameError):
        SignalsMiddleware(application, [("", print)])
    with pytest.raises(InvalidNameError):
        SignalsMiddleware(application, [("a", print)], names=[""])
    receivers = Receivers()
    receivers.connect("a", print, reliable=True)
    with pytest.raises(InvalidOptionError, match="reliable=False"):
        SignalsMiddleware(application, receivers, reliable=False)


def test_making_a_middleware_touches_nothing(store: MemoryStore) -> None:
    SignalsMiddleware(application, [("a", print)])
    assert store.calls == []


def test_a_streamed_answer_passes_through_as_it_is(store: MemoryStore) -> None:
    class Answer:
        def __iter__(self) -> Iterator[bytes]:
            return iter([b"a"])

    answer = Answer()
    middleware = SignalsMiddleware(lambda environ, start_response: answer, [("a", print)])
    assert middleware({"PATH_INFO": "/"}, lambda *_: lambda _: None) is answer
