"""Connecting handlers to names and patterns."""

from __future__ import annotations

import functools
import math
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any
from unittest import mock

import pytest

from gaesignals.errors import InvalidMappingError, InvalidNameError, InvalidOptionError
from gaesignals.handler import identity
from gaesignals.raised import Drop, Retry
from gaesignals.receivers import Receivers, as_receivers
from gaesignals.signal import Signal
from gaesignals.template import Template


def handle(data: Any) -> None: ...


def handle_other(data: Any) -> None: ...


def handle_user(data: Any, *, user_id: str) -> None: ...


class Handler:
    def __call__(self, data: Any) -> None: ...

    def method(self, data: Any) -> None: ...

    @staticmethod
    def static(data: Any) -> None: ...


HERE = handle.__module__


def matched(receivers: Receivers, name: str) -> list[tuple[str, dict[str, str]]]:
    return [(match.receiver.id, dict(match.captures)) for match in receivers.matching(name)]


def test_a_name_is_matched_by_its_receivers_in_their_order() -> None:
    receivers = Receivers()
    receivers.connect("a_{rest}", handle_other_rest := lambda data, rest: None, id="pattern")
    receivers.connect("a_b", handle)
    receivers.connect(Signal("a_b"), handle_other)
    receivers.connect("c", handle)
    assert handle_other_rest is not None
    assert matched(receivers, "a_b") == [
        ("pattern", {"rest": "b"}),
        (f"{HERE}.handle", {}),
        (f"{HERE}.handle_other", {}),
    ]
    assert matched(receivers, "c") == [(f"{HERE}.handle", {})]
    assert matched(receivers, "d") == []


def test_a_match_is_found_again_and_anew_after_a_later_connect() -> None:
    receivers = Receivers()
    receivers.connect("a", handle)
    assert receivers.matching("a") is receivers.matching("a")
    assert receivers.matching("b") == ()
    receivers.connect("b", handle)
    receivers.connect("a", handle_other)
    assert len(receivers.matching("a")) == 2
    assert len(receivers.matching("b")) == 1


def test_literal_names_are_listed_once_and_patterns_are_told() -> None:
    receivers = Receivers()
    receivers.connect("b", handle)
    receivers.connect("a", handle)
    receivers.connect("b", handle_other)
    assert (receivers.literal_names(), receivers.has_patterns) == (("b", "a"), False)
    receivers.connect("user_{user_id}", handle_user)
    assert (receivers.literal_names(), receivers.has_patterns) == (("b", "a"), True)
    assert (len(receivers), repr(receivers)) == (4, "<Receivers: 4 connected>")
    assert [receiver.handler for receiver in receivers] == [handle, handle, handle_other, handle_user]


def test_a_filled_in_signal_is_a_literal_name_whatever_braces_it_has() -> None:
    receivers = Receivers()
    receivers.connect(Signal("{x}")(x="{user_id}"), handle)
    assert receivers.literal_names() == ("{user_id}",)
    assert not receivers.has_patterns


def test_the_decorator_connects_a_function_and_returns_it() -> None:
    receivers = Receivers()

    @receivers.receiver("a", reliable=True, max_attempts=5, backoff_seconds=30, batch=10, id="mine")
    def connected(messages: list[Any]) -> str:
        return "called"

    assert connected([]) == "called"
    (receiver,) = receivers
    assert receiver.handler is connected
    assert (receiver.id, receiver.reliable, receiver.max_attempts, receiver.backoff_seconds, receiver.batch) == (
        "mine",
        True,
        5,
        30,
        10,
    )


def test_one_function_may_be_decorated_for_several_names() -> None:
    receivers = Receivers()

    @receivers.receiver("a")
    @receivers.receiver(Signal("b_{x}"))
    def connected(data: Any, x: str = "none") -> None: ...

    assert [str(receiver.template) for receiver in receivers] == ["b_{x}", "a"]


def test_the_decorator_refuses_to_be_used_bare() -> None:
    receivers = Receivers()
    with pytest.raises(InvalidMappingError, match=r'needs a name: @receivers\.receiver\("my_signal"\)'):

        @receivers.receiver
        def connected(data: Any) -> None: ...


def test_the_decorator_refuses_a_bad_name_before_there_is_a_function() -> None:
    with pytest.raises(InvalidNameError):
        Receivers().receiver("")


def asynchronous() -> list[Any]:
    async def coroutine(data: Any) -> None: ...

    class AsyncCallable:
        async def __call__(self, data: Any) -> None: ...

        async def method(self, data: Any) -> None: ...

    return [coroutine, AsyncCallable(), AsyncCallable().method, functools.partial(coroutine), mock.AsyncMock()]


@pytest.mark.parametrize("handler", asynchronous(), ids=lambda handler: type(handler).__name__)
def test_a_coroutine_handler_is_run_for_ten_messages_at_a_time_or_as_many_as_it_says(handler: Any) -> None:
    receivers = Receivers()
    receivers.connect("a", handler)
    receivers.connect("b", handler, concurrency=3)
    receivers.connect("c", handler, batch=5)
    receivers.receiver("d", concurrency=1)(handler)
    assert [receiver.concurrency for receiver in receivers] == [10, 3, 1, 1]
    assert [receiver.concurrency for receiver in as_receivers([("a", handler)])] == [10]


@pytest.mark.parametrize("batch", [None, 5])
def test_concurrency_is_for_coroutine_handlers_of_one_message(batch: int | None) -> None:
    async def coroutine(messages: Any) -> None: ...

    with pytest.raises(InvalidOptionError, match="concurrency=3 is for an async def handler of one message"):
        Receivers().connect("a", coroutine if batch else handle, batch=batch, concurrency=3)


@pytest.mark.parametrize("concurrency", [0, -1, True, 1.0, "1", 1001])
def test_a_bad_concurrency_is_refused(concurrency: Any) -> None:
    async def coroutine(data: Any) -> None: ...

    with pytest.raises(InvalidOptionError, match=r"concurrency=.* cannot be: give a whole number from 1 to 1000"):
        Receivers().connect("a", coroutine, concurrency=concurrency)


def test_an_asynchronous_generator_is_refused() -> None:
    async def generator(data: Any) -> AsyncIterator[None]:
        yield

    with pytest.raises(InvalidMappingError, match="is a generator, of which a call runs nothing"):
        Receivers().connect("a", generator)


def test_a_generator_is_refused_since_calling_it_runs_nothing() -> None:
    def generator(data: Any) -> Iterator[None]:
        yield

    with pytest.raises(InvalidMappingError, match="is a generator, of which a call runs nothing"):
        Receivers().connect("a", generator)


@pytest.mark.parametrize("handler", [None, "handle", 5, ["handle"]])
def test_what_cannot_be_called_is_refused(handler: Any) -> None:
    with pytest.raises(InvalidMappingError, match="cannot be called"):
        Receivers().connect("a", handler)
    with pytest.raises(InvalidMappingError, match="cannot be called"):
        as_receivers({"a": handler}, reliable=None)


def no_argument() -> None: ...
def two_arguments(one: Any, two: Any) -> None: ...
def keyword_only(*, data: Any) -> None: ...
def positional_field(data: Any, user_id: str) -> None: ...
def optional_field(data: Any, user_id: str = "") -> None: ...
def any_keywords(data: Any, **fields: str) -> None: ...
def any_arguments(*arguments: Any, **fields: str) -> None: ...
def other_field(data: Any, *, group: str) -> None: ...
def more_fields(data: Any, *, user_id: str, group: str) -> None: ...
def named_as_the_field(user_id: Any) -> None: ...
def positional_only(data: Any, user_id: str, /) -> None: ...


@pytest.mark.parametrize(
    "handler", [handle, optional_field, any_keywords, any_arguments, Handler(), Handler().method, Handler.static, print]
)
def test_a_handler_of_one_argument_is_connected_to_a_name(handler: Any) -> None:
    receivers = Receivers()
    receivers.connect("a", handler)
    receivers.connect("b", handler, batch=5)
    assert len(receivers) == 2


@pytest.mark.parametrize("handler", [[].append, dict, max, mock.Mock(), functools.partial(two_arguments, 1), str.upper])
def test_a_builtin_or_any_other_callable_is_connected(handler: Any) -> None:
    receivers = Receivers()
    receivers.connect("a", handler)
    assert len(receivers) == 1


@pytest.mark.parametrize("handler", [no_argument, two_arguments, keyword_only, positional_field, other_field])
def test_a_handler_that_cannot_take_the_data_alone_is_refused(handler: Any) -> None:
    with pytest.raises(InvalidMappingError, match=r"will be called as handler\(data\), but has the signature \("):
        Receivers().connect("a", handler)
    with pytest.raises(InvalidMappingError, match=r"will be called as handler\(messages\), but"):
        Receivers().connect("a", handler, batch=5)
    with pytest.raises(InvalidMappingError, match=r"will be called as handler\(data\), but"):
        as_receivers([("a", handler)], reliable=None)


@pytest.mark.parametrize("handler", [handle_user, positional_field, optional_field, any_keywords, any_arguments])
def test_a_handler_that_takes_the_fields_is_connected_to_a_pattern(handler: Any) -> None:
    receivers = Receivers()
    receivers.connect("user_{user_id}", handler)
    assert len(receivers) == 1


@pytest.mark.parametrize("handler", [handle, other_field, more_fields, named_as_the_field, positional_only])
def test_a_handler_that_does_not_take_the_fields_is_refused_for_a_pattern(handler: Any) -> None:
    with pytest.raises(
        InvalidMappingError, match=r"'user_\{user_id\}' will be called as handler\(data, user_id=\.\.\.\)"
    ):
        Receivers().connect("user_{user_id}", handler)


NOT_BOOL = [None, 1, 0, "yes"]
NOT_WHOLE = [0, -1, True, 1.0, "1", math.nan]


@pytest.mark.parametrize(
    ("option", "value"),
    [
        *(("reliable", value) for value in NOT_BOOL),
        *(("batch", value) for value in [*NOT_WHOLE, 1001]),
        *(("max_attempts", value) for value in [*NOT_WHOLE, None]),
        *(("backoff_seconds", value) for value in [-1, math.nan, math.inf, True, "1", None, 604801]),
        *(("backoff", value) for value in [3, "soon", [], [-1], [1, "2"], [math.nan], {1: 2}]),
        *(("retry_on", value) for value in [ValueError("no"), [KeyboardInterrupt], ["ValueError"], 3]),
        *(("drop_on", value) for value in [BaseException, [int], None]),
        *(("max_age_seconds", value) for value in [0, -1, True, "60", math.nan, math.inf]),
        *(("lease_seconds", value) for value in [0, 0.5, -1, math.nan, math.inf, True, "1", 86401]),
        *(("queue", value) for value in ["", "two words", "a" * 101, b"mail", 3, "queue\n"]),
        *(("id", value) for value in ["", 5, b"a", "x" * 201, "a\n"]),
    ],
)
def test_a_bad_option_is_refused_and_named(option: str, value: Any) -> None:
    receivers = Receivers()
    with pytest.raises(InvalidOptionError, match=f"{option}=.* cannot be: give"):
        receivers.connect("a", handle, **{option: value})
    with pytest.raises(InvalidOptionError, match=f"{option}=.* cannot be: give"):
        receivers.receiver("a", **{option: value})(handle)
    assert len(receivers) == 0


async def waits_asynchronously(attempt: int) -> float:
    return 1.0


def waits_as_a_generator(attempt: int) -> Any:
    yield 1.0


@pytest.mark.parametrize(
    ("backoff", "said"),
    [
        (lambda: 1, r"<lambda> will be called as backoff\(attempt\), but has the signature \(\)"),
        (lambda attempt, error: 1, r"<lambda> will be called as backoff\(attempt\), but has the signature"),
        (waits_asynchronously, "waits_asynchronously is asynchronous; give a plain function"),
        (waits_as_a_generator, "waits_as_a_generator is a generator"),
    ],
)
def test_a_backoff_that_cannot_be_called_with_the_attempt_is_refused(backoff: Any, said: str) -> None:
    receivers = Receivers()
    with pytest.raises(InvalidOptionError, match=said):
        receivers.connect("a", handle, backoff=backoff)
    assert len(receivers) == 0


def test_an_unknown_option_is_refused_and_named() -> None:
    receivers: Any = Receivers()
    with pytest.raises(InvalidOptionError, match=r"connect\(\) has no option 'retries'"):
        receivers.connect("a", handle, retries=3)
    with pytest.raises(InvalidOptionError, match=r"receiver\(\) has no option 'retries'"):
        receivers.receiver("a", retries=3)
    with pytest.raises(InvalidOptionError, match=r"Receivers\(\) has no option 'on_death'"):
        Receivers(on_death=print)  # type: ignore[arg-type]  # the mistake
    with pytest.raises(InvalidOptionError, match="on_dead='print' cannot be called"):
        Receivers(on_dead="print")  # type: ignore[arg-type]  # the mistake


def around_as_a_generator() -> Any:
    yield


async def around_asynchronously() -> None: ...


@pytest.mark.parametrize(
    ("on_dead", "said"),
    [
        (lambda message: None, r"will be called as on_dead\(message, error\), but has the signature \(message\)"),
        (around_as_a_generator, "give a function without yield"),
    ],
)
def test_an_on_dead_that_cannot_be_called_so_is_refused_at_once(on_dead: Any, said: str) -> None:
    with pytest.raises(InvalidOptionError, match=said):
        Receivers(on_dead=on_dead)


@pytest.mark.parametrize(
    ("around", "said"),
    [
        ("block", "around='block' cannot be called"),
        (around_as_a_generator, r"decorate it with contextlib\.contextmanager"),
        (around_asynchronously, "is asynchronous"),
        (lambda message: None, r"will be called as around\(\)"),
    ],
)
def test_an_around_that_makes_no_block_is_refused_at_once(around: Any, said: str) -> None:
    with pytest.raises(InvalidOptionError, match=said):
        Receivers(around=around)


@pytest.mark.parametrize(
    ("handler", "id"),
    [
        (handle, f"{HERE}.handle"),
        (Handler.static, f"{HERE}.Handler.static"),
        (Handler().method, f"{HERE}.Handler.method"),
        (Handler(), f"{HERE}.Handler"),
        (functools.partial(functools.partial(two_arguments, 1)), f"{HERE}.two_arguments"),
        (print, "builtins.print"),
        ([].append, "list.append"),
        (mock.Mock(), "unittest.mock.Mock"),
    ],
)
def test_a_receiver_is_known_by_its_module_and_name(handler: Any, id: str) -> None:
    assert identity(handler) == id


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("a", "a"),
        ("user_{user_id}", "user_5"),
        ("user_5", "user_{user_id}"),
        ("user_{user_id}", "user_{user_id}"),
        ("user_{user_id}", "{user_id}_x"),
    ],
)
def test_two_receivers_of_one_name_need_ids_of_their_own(one: str, other: str) -> None:
    receivers = Receivers()
    receivers.connect(one, any_keywords)
    with pytest.raises(InvalidMappingError, match="give one of them an id="):
        receivers.connect(other, any_keywords)
    assert len(receivers) == 1
    receivers.connect(other, any_keywords, id="another")
    assert len(receivers) == 2


@pytest.mark.parametrize(
    ("one", "other"), [("a", "b"), ("user_{user_id}", "user_"), ("user_{user_id}", "users_{user_id}_x")]
)
def test_one_function_may_receive_names_that_no_other_pattern_of_it_matches(one: str, other: str) -> None:
    receivers = Receivers()
    receivers.connect(one, any_keywords)
    receivers.connect(other, any_keywords)
    assert len(receivers) == 2


def test_connecting_while_names_are_matched_never_hides_a_receiver() -> None:
    receivers = Receivers()
    started, finished = threading.Event(), threading.Event()

    def match_on() -> None:
        while not finished.is_set():
            receivers.matching("a")
            started.set()

    thread = threading.Thread(target=match_on)
    thread.start()
    started.wait()
    for number in range(200):
        receivers.connect("a", handle, id=f"id{number}")
        assert len(receivers.matching("a")) == number + 1
    finished.set()
    thread.join()


def test_pairs_and_dicts_become_weak_receivers_of_literal_names() -> None:
    for mapping in (
        [("a{b}", handle), (Signal("c"), handle_other)],
        {"a{b}": handle, Signal("c"): handle_other},
        (pair for pair in (("a{b}", handle), ["c", handle_other])),
    ):
        receivers = as_receivers(mapping, reliable=None)  # type: ignore[arg-type]  # a list may stand for a pair
        assert receivers.literal_names() == ("a{b}", "c")
        assert not any(receiver.reliable for receiver in receivers)


def test_no_pairs_are_no_receivers() -> None:
    assert len(as_receivers([], reliable=None)) == len(as_receivers({}, reliable=True)) == 0


def test_reliable_raises_pairs_and_receivers() -> None:
    assert all(receiver.reliable for receiver in as_receivers([("a", handle)], reliable=True))
    declared = Receivers(on_dead=print)
    declared.connect("a", handle)
    declared.connect("a", handle_other, reliable=True, max_attempts=3)
    raised = as_receivers(declared, reliable=True)
    assert [(receiver.reliable, receiver.max_attempts) for receiver in raised] == [(True, 20), (True, 3)]
    assert raised.on_dead is print
    assert [receiver.reliable for receiver in declared] == [False, True]


def test_receivers_stay_the_same_where_nothing_is_to_be_raised() -> None:
    receivers = Receivers()
    receivers.connect("a", handle)
    assert as_receivers(receivers, reliable=None) is receivers
    assert as_receivers(receivers, reliable=False) is receivers
    receivers = as_receivers(receivers, reliable=True)
    assert as_receivers(receivers, reliable=True) is receivers


def test_reliable_false_over_a_reliable_receiver_is_refused() -> None:
    receivers = Receivers()
    receivers.connect("a", handle, reliable=True)
    with pytest.raises(InvalidOptionError, match=r"reliable=False cannot be: .*\.handle is connected as reliable"):
        as_receivers(receivers, reliable=False)


@pytest.mark.parametrize("reliable", [1, 0, "yes", 1.0])
def test_reliable_is_true_false_or_none(reliable: Any) -> None:
    with pytest.raises(InvalidOptionError, match="give True, False or None"):
        as_receivers([("a", handle)], reliable=reliable)


def test_a_handler_that_a_plain_mapping_names_twice_gets_a_number() -> None:
    receivers = as_receivers([("a", handle), ("b", handle), ("a", handle), ("a", handle)], reliable=True)
    name = f"{HERE}.handle"
    assert [receiver.id for receiver in receivers] == [name, name, f"{name}#2", f"{name}#3"]


def test_a_handler_of_very_many_names_is_compared_with_none_of_its_other_names(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    compared: list[Template] = []

    def overlaps(one: Template, other: Template) -> bool:
        compared.append(other)
        return False

    monkeypatch.setattr(Template, "overlaps", overlaps)
    receivers = as_receivers([(f"name{number}", handle) for number in range(1000)])
    assert (len(receivers), compared) == (1000, [])


@pytest.mark.parametrize(
    ("mapping", "said"),
    [
        (None, "not None"),
        (5, "not 5"),
        ("a", "not 'a'"),
        (b"a", "not b'a'"),
        (Signal("a"), r"not Signal\('a'\)"),
        (handle, "not <function handle"),
        (["ab"], "one is 'ab'"),
        ([("a",)], r"one is \('a',\)"),
        ([("a", handle, handle)], "but one is"),
        ([handle], "but one is <function handle"),
    ],
)
def test_what_is_no_mapping_is_refused(mapping: Any, said: str) -> None:
    with pytest.raises(InvalidMappingError, match=f"a mapping is a list of pairs .*{said}"):
        as_receivers(mapping, reliable=None)


@pytest.mark.parametrize("name", ["", 5, None, "a\n", Signal("user_{user_id}")])
def test_a_mapping_with_a_bad_name_is_refused(name: Any) -> None:
    with pytest.raises(InvalidNameError):
        as_receivers([("a", handle), (name, handle)], reliable=None)


def test_a_type_of_failure_cannot_be_both_tried_again_and_dropped() -> None:
    with pytest.raises(InvalidOptionError, match="types of exceptions, of which none is in retry_on"):
        Receivers().connect("a", handle, retry_on=(OSError, ValueError), drop_on=ValueError)


@pytest.mark.parametrize("option", ["retry_on", "drop_on"])
@pytest.mark.parametrize("kind", [Retry, Drop, type("NotYet", (Retry,), {})])
def test_what_a_handler_raises_to_say_what_becomes_of_a_message_is_no_type_of_failure(option: str, kind: Any) -> None:
    with pytest.raises(InvalidOptionError, match="Retry and Drop say themselves"):
        Receivers().connect("a", handle, **{option: (OSError, kind)})  # type: ignore[misc]


@pytest.mark.parametrize("queue", ["signals-safety", "signals-later"])
def test_a_queue_whose_tasks_deliver_nothing_is_refused(queue: str) -> None:
    with pytest.raises(InvalidOptionError, match="signals-safety and signals-later deliver nothing"):
        Receivers().connect("a", handle, queue=queue)


def test_one_type_of_exceptions_stands_for_a_list_of_it_and_a_list_cannot_be_changed_later() -> None:
    receivers, waits = Receivers(), [1, 60]
    receivers.connect("a", handle, retry_on=ConnectionError, drop_on=[LookupError], backoff=waits)
    waits.clear()
    (receiver,) = receivers
    assert (receiver.retry_on, receiver.drop_on, receiver.backoff) == ((ConnectionError,), (LookupError,), (1, 60))


def test_a_receiver_says_how_long_its_leases_last_and_which_queue_delivers_it() -> None:
    receivers = Receivers()
    receivers.connect("report", handle, reliable=True, lease_seconds=86400, queue="slow-reports")
    receivers.connect("mail", handle)
    assert [(receiver.lease_seconds, receiver.queue) for receiver in receivers] == [
        (86400, "slow-reports"),
        (None, None),
    ]


@pytest.mark.parametrize(("first", "second"), [("mail", "mail"), ("mail_{id}", "mail_7"), ("mail_7", "mail_{id}")])
def test_a_name_that_certainly_has_two_queues_is_refused(first: str, second: str) -> None:
    receivers = Receivers()
    receivers.connect(first, handle_anything, queue="slow", id="one")
    with pytest.raises(InvalidMappingError, match="a name has one queue; give both the same"):
        receivers.connect(second, handle_anything, queue="quick", id="two")
    receivers.connect(second, handle_anything, queue="slow", id="three")
    receivers.connect(second, handle_anything, id="four")


def test_patterns_that_may_never_meet_have_queues_of_their_own() -> None:
    receivers = Receivers()
    receivers.connect("mail_{id}", handle_anything, queue="slow", id="one")
    receivers.connect("{kind}_7", handle_anything, queue="quick", id="two")


def handle_anything(data: Any, **fields: str) -> None: ...
