"""Names, templates and sending."""

from __future__ import annotations

import copy
import pickle
import re
import string
from collections.abc import Iterator
from dataclasses import FrozenInstanceError
from datetime import datetime
from typing import Any
from unittest import mock

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from gaesignals.delivery.deliver import deliver
from gaesignals.errors import (
    InvalidDataError,
    InvalidMappingError,
    InvalidNameError,
    InvalidOptionError,
    SignalsError,
    StoreError,
)
from gaesignals.mailbox.box import Mailbox
from gaesignals.mailbox.current import use_mailbox
from gaesignals.raised import Drop, Retry
from gaesignals.sending import send_many
from gaesignals.signal import Signal, name_of
from gaesignals.template import Template, check_name
from gaesignals.testing import MemoryStore


@pytest.fixture
def store() -> Iterator[MemoryStore]:
    store = MemoryStore()
    with use_mailbox(Mailbox(store)):
        yield store


def received(*names: str) -> list[Any]:
    data: list[Any] = []
    deliver([(name, data.append) for name in names])
    return data


BAD_NAMES = {
    "empty": "",
    "too long": "x" * 201,
    "too long in UTF-8": "é" * 101,
    "a line break": "a\nb",
    "a NUL": "a\0",
    "a delete": "a\x7f",
    "a C1 control": "a\x85",
    "a lone surrogate": "a\ud800",
    "None": None,
    "bytes": b"a",
    "a number": 1,
    "a list": ["a"],
}
GOOD_NAMES = [
    "a",
    "x" * 200,
    "é" * 100,
    " ",
    "a b",
    "a:b/c*d?[e]",
    "{",
    "}{",
    "{}",
    "{1}",
    "{a b}",
    "😀",
    "a\u2028b",
    "%s",
]


@pytest.mark.parametrize("name", BAD_NAMES.values(), ids=BAD_NAMES.keys())
def test_a_bad_name_is_refused_wherever_a_name_goes_and_nothing_is_stored(store: MemoryStore, name: Any) -> None:
    with pytest.raises(InvalidNameError) as caught:
        check_name(name)
    assert caught.value.name == name
    assert isinstance(caught.value, SignalsError)
    with pytest.raises(InvalidNameError):
        Signal(name)
    with pytest.raises(InvalidNameError):
        send_many([("good", 1), (name, 2)])
    assert store.calls == []


@pytest.mark.parametrize("name", GOOD_NAMES)
def test_a_good_name_is_sent_and_received_as_it_is(store: MemoryStore, name: str) -> None:
    assert check_name(name) == name
    assert Signal(name).name == name
    Signal(name).send(name)
    send_many([(name, 1)])
    assert received(name) == [name, 1]


def test_a_name_of_a_subclass_of_str_becomes_a_plain_one() -> None:
    class Name(str):
        __slots__ = ()

        def __str__(self) -> str:
            return "something else"

    assert type(check_name(Name("a"))) is str
    assert Signal(Name("a")) == Signal("a")


def test_a_signal_carries_data_of_any_kind_or_none(store: MemoryStore) -> None:
    moment = datetime(2024, 1, 2, 3, 4, 5)
    ids = [Signal("my_signal").send(), Signal("my_signal").send(moment), Signal("my_signal").send(data={"a": (1,)})]
    assert all(isinstance(id, str) for id in ids)
    assert len(set(ids)) == 3
    assert received("my_signal") == [None, moment, {"a": (1,)}]


def test_data_that_cannot_be_carried_is_refused_and_nothing_is_stored(store: MemoryStore) -> None:
    with pytest.raises(InvalidDataError, match="data is of type object"):
        Signal("a").send(object())
    with pytest.raises(InvalidDataError, match=r'data\["b"\]'):
        send_many([("a", 1), ("b", {"b": object()})])
    assert store.calls == []


def test_an_unknown_option_is_refused_and_nothing_is_stored(store: MemoryStore) -> None:
    with pytest.raises(InvalidOptionError, match=r"send\(\) has no option 'delay'"):
        Signal("a").send(1, delay=3)  # type: ignore[arg-type]  # the mistake
    with pytest.raises(InvalidOptionError, match=r"send_many\(\) has no option 'delay'"):
        send_many([("a", 1)], delay=3)  # type: ignore[arg-type]  # the mistake
    assert store.calls == []


def test_a_send_that_memcache_did_not_answer_raises(store: MemoryStore) -> None:
    store.before = lambda call: call.keys
    with pytest.raises(StoreError):
        Signal("a").send(1)
    with pytest.raises(StoreError):
        send_many([("a", 1), ("b", 2)])


def test_a_pair_is_the_signal_with_all_that_it_declares_and_its_data(mailbox: Mailbox) -> None:
    newest = Signal("newest", latest=True)
    send_many([newest.pair(1), newest.pair(2), Signal("b").pair(), ("c", 3)])
    assert newest.pair(1) == (newest, 1)
    handled: list[object] = []
    deliver([(name, handled.append) for name in ("newest", "b", "c")])
    assert sorted(handled, key=str) == [2, 3, None]


def test_many_names_are_sent_in_two_calls_and_their_ids_come_in_order(store: MemoryStore) -> None:
    ids = send_many((f"name_{number % 50}", number) for number in range(100))
    assert len(set(ids)) == 100
    assert len(store.calls) == 2
    assert sorted(received(*(f"name_{number}" for number in range(50)))) == list(range(100))


def test_sending_nothing_calls_nothing(store: MemoryStore) -> None:
    assert send_many([]) == []
    assert store.calls == []


def test_a_signal_may_stand_for_a_name_when_many_are_sent(store: MemoryStore) -> None:
    send_many([(Signal("a"), 1), ("b{c}", 2), (Signal("{x}")(x="d"), 3)])
    assert sorted(received("a", "b{c}", "d")) == [1, 2, 3]


@pytest.mark.parametrize(
    ("pairs", "said"),
    [
        ({"a": 1}, r"not a dict; give its \.items\(\)"),
        ("ab", "not a str"),
        (5, "not a int"),
        (None, "not a NoneType"),
        (["ab"], "one is 'ab'"),
        ([("a",)], r"one is \('a',\)"),
        ([("a", 1, 2)], r"one is \('a', 1, 2\)"),
    ],
)
def test_what_is_no_list_of_pairs_is_refused(store: MemoryStore, pairs: Any, said: str) -> None:
    with pytest.raises(InvalidMappingError, match=said):
        send_many(pairs)
    assert store.calls == []


def test_a_template_is_filled_in_by_calling_it(store: MemoryStore) -> None:
    password_changed = Signal("user_{user_id}_password_change")
    assert password_changed(user_id=54274) == Signal("user_54274_password_change")
    password_changed(user_id="x").send(1)
    assert received("user_x_password_change") == [1]


@pytest.mark.parametrize(
    ("template", "fields"),
    [
        ("user_{user_id}", {}),
        ("user_{user_id}", {"id": 1}),
        ("user_{user_id}", {"user_id": 1, "more": 2}),
        ("user", {"user_id": 1}),
        ("user_{user_id}", {"user_id": ""}),
        ("user_{user_id}", {"user_id": None}),
        ("user_{user_id}", {"user_id": True}),
        ("user_{user_id}", {"user_id": 1.5}),
        ("user_{user_id}", {"user_id": "a\n"}),
        ("user_{user_id}", {"user_id": "a\ud800"}),
        ("user_{user_id}", {"user_id": "x" * 200}),
    ],
)
def test_what_does_not_fill_in_a_template_is_refused(template: str, fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidNameError):
        Signal(template)(**fields)


def test_a_field_may_have_any_identifier_for_a_name() -> None:
    assert Signal("{self}_{class}_{name}")(**{"self": 1, "class": 2, "name": 3}).name == "1_2_3"


def test_values_that_would_be_read_back_as_others_are_refused() -> None:
    owned = Signal("{tenant}_{user}")
    assert owned(tenant="a", user="b_c").name == "a_b_c"
    with pytest.raises(InvalidNameError, match="would read it as"):
        owned(tenant="a_b", user="c")


def test_a_template_that_is_not_filled_in_says_how_when_it_is_used(store: MemoryStore) -> None:
    template = Signal("user_{user_id}_in_{group}")
    for use in (
        lambda: template.send(1),
        lambda: send_many([(template, 1)]),
        lambda: deliver([(template, print)]),
        lambda: deliver([("a", print)], names=[template]),
    ):
        with pytest.raises(InvalidNameError, match=re.escape("('user_{user_id}_in_{group}')(user_id=..., group=...)")):
            use()
    assert store.calls == []


def test_a_filled_in_name_is_literal_whatever_braces_it_has(store: MemoryStore) -> None:
    filled = Signal("user_{user_id}")(user_id="{x}")
    assert filled.name == "user_{x}"
    assert filled != Signal("user_{x}")
    filled.send(1)
    assert received("user_{x}") == [1]


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("a", ()),
        ("{a}", ("a",)),
        ("x{a}y{b}z", ("a", "b")),
        ("{{a}}", ("a",)),
        ("{a", ()),
        ("a}", ()),
        ("{}", ()),
        ("{1a}", ()),
        ("{a-b}", ()),
        ("{ a }", ()),
        ("{a!r}", ()),
        ("{a:5}", ()),
        ("{a.b}", ()),
        ("{größe}", ("größe",)),
        ("{_}", ("_",)),
        ("{a{b}", ("b",)),
        ("{class}", ("class",)),
        ("{℘}", ("℘",)),
        ("{a²}", ()),
    ],
)
def test_an_identifier_between_braces_is_a_field_and_any_other_brace_is_ordinary(
    text: str, fields: tuple[str, ...]
) -> None:
    template = Template.parse(text)
    assert template.fields == fields
    assert template.is_literal == (not fields)
    assert str(template) == text


def test_a_field_that_is_in_a_template_twice_is_refused() -> None:
    with pytest.raises(InvalidNameError, match=r"\{a\} is in it twice"):
        Signal("{a}_{a}")


@pytest.mark.parametrize(
    ("text", "name", "captures"),
    [
        ("a", "a", {}),
        ("a", "b", None),
        ("user_{id}_x", "user_1_x", {"id": "1"}),
        ("user_{id}_x", "user__x", None),
        ("user_{id}_x", "user_x", None),
        ("user_{id}_x", "user_1_x_x", {"id": "1_x"}),
        ("user_{id}_x", "user_1_xx", None),
        ("user_{id}_x", "xuser_1_x", None),
        ("aa{id}aa", "aaa", None),
        ("aa{id}aa", "aaaa", None),
        ("aa{id}aa", "aaaaa", {"id": "a"}),
        ("{a}_{b}", "x_y_z", {"a": "x", "b": "y_z"}),
        ("{a}_{b}", "__x", {"a": "_", "b": "x"}),
        ("{a}_{b}", "___", {"a": "_", "b": "_"}),
        ("{a}_{b}", "_x", None),
        ("{a}_{b}", "x_", None),
        ("{a}{b}", "xyz", {"a": "x", "b": "yz"}),
        ("{a}{b}", "x", None),
        ("{a}", "", None),
        ("{a}.{b}.{c}", "1.2.3.4", {"a": "1", "b": "2", "c": "3.4"}),
        ("{a}-x{b}", "-x-xy", {"a": "-x", "b": "y"}),
        ("f{a}", "f{a}", {"a": "{a}"}),
        ("f{a}", "f.*", {"a": ".*"}),
        ("f{a}", "f😀", {"a": "😀"}),
    ],
)
def test_a_template_matches(text: str, name: str, captures: dict[str, str] | None) -> None:
    assert Template.parse(text).match(name) == captures


names = st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=40)
narrow_names = st.text("ab_{}", min_size=1, max_size=12)
fields = st.lists(st.sampled_from(string.ascii_lowercase), max_size=4, unique=True)
texts = st.text("ab_", max_size=3)


@st.composite
def templates(draw: st.DrawFn) -> Template:
    chosen = draw(fields)
    literals = draw(st.lists(texts, min_size=len(chosen) + 1, max_size=len(chosen) + 1))
    assume("".join(literals) or chosen)
    return Template(tuple(literals), tuple(chosen))


def oracle(template: Template) -> re.Pattern[str]:
    """The same template as a regular expression, which is allowed to be slow on such short names."""
    parts = [re.escape(template.literals[0])]
    for field, text in zip(template.fields, template.literals[1:], strict=True):
        parts += [f"(?P<{field}>.+?)", re.escape(text)]
    return re.compile("".join(parts), re.DOTALL)


@given(templates(), narrow_names)
def test_a_template_matches_as_its_regular_expression_would(template: Template, name: str) -> None:
    found = oracle(template).fullmatch(name)
    assert template.match(name) == (None if found is None else found.groupdict())


@given(templates(), st.data())
def test_what_a_template_is_filled_in_with_is_read_back_or_refused(template: Template, data: st.DataObject) -> None:
    values = {field: data.draw(names | narrow_names) for field in template.fields}
    name = "".join(a + b for a, b in zip(template.literals, [*values.values(), ""], strict=True))
    if template.match(name) == values:
        assert template.fill(**values) == name
    else:
        assert len(template.fields) > 1
        with pytest.raises(InvalidNameError, match="would read it as"):
            template.fill(**values)


@given(st.text("ab_", max_size=5), st.text("ab_", max_size=5), names)
def test_a_template_with_one_field_takes_any_value(head: str, tail: str, value: str) -> None:
    template = Template.parse(f"{head}{{field}}{tail}")
    assert template.match(template.fill(field=value)) == {"field": value}


@given(st.text("ab{}_1 ", min_size=1, max_size=30))
def test_a_template_is_written_as_it_was_read(text: str) -> None:
    found = re.findall(r"\{([ab_][ab_1]*)\}", text)
    if len(set(found)) < len(found):
        with pytest.raises(InvalidNameError, match="twice"):
            Template.parse(text)
        return
    template = Template.parse(text)
    assert template.fields == tuple(found)
    assert str(template) == text
    assert Template.parse(str(template)) == template


@given(names)
def test_a_literal_matches_itself_alone(name: str) -> None:
    template = Template.literal(name)
    assert template.match(name) == {}
    assert template.match(name + "x") is None
    assert template.match("x" + name) is None


@given(templates(), templates(), narrow_names)
def test_templates_that_match_one_name_overlap(one: Template, other: Template, name: str) -> None:
    assert one.overlaps(other) == other.overlaps(one)
    if one.match(name) is not None and other.match(name) is not None:
        assert one.overlaps(other)


@given(templates(), templates())
def test_templates_that_overlap_match_one_name(one: Template, other: Template) -> None:
    if one.is_literal or other.is_literal or not one.overlaps(other):
        return
    head = max(one.literals[0], other.literals[0], key=len)
    tail = max(one.literals[-1], other.literals[-1], key=len)
    between = "a".join(["", *one.literals[1:-1], *other.literals[1:-1], ""])
    name = f"{head}aaaa{between}aaaa{tail}"
    assert one.match(name) is not None
    assert other.match(name) is not None


def test_a_long_name_that_almost_matches_takes_few_steps() -> None:
    steps = 0

    class Counted(str):
        __slots__ = ()

        def find(self, *arguments: Any) -> int:
            nonlocal steps
            steps += 1
            return super().find(*arguments)

    template = Template.parse("".join(f"a{{f{number}}}" for number in range(20)) + "b")
    assert template.match(Counted("a" * 199 + "c")) is None
    assert template.match(Counted("a" * 199 + "b")) is not None
    assert steps <= 40


def test_signals_are_equal_by_name_and_can_be_keys() -> None:
    assert Signal("a") == Signal("a")
    assert Signal("a") != Signal("b")
    assert len({Signal("a"), Signal("a"), Signal("{a}"), Signal("{a}")}) == 2
    assert repr(Signal("a{b}")) == "Signal('a{b}')"


def test_a_signal_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        Signal("a").template = Template(("b",))  # type: ignore[misc]  # the mistake


@pytest.mark.parametrize("signal", [Signal("a"), Signal("a{b}"), Signal("a{b}")(b="{c}")])
def test_a_signal_survives_copying_and_pickling(signal: Signal) -> None:
    assert copy.deepcopy(signal) == signal
    assert pickle.loads(pickle.dumps(signal)) == signal


def test_the_name_of_a_name_is_itself_and_of_a_signal_its_own() -> None:
    assert [name_of("a{b}"), name_of(Signal("a"))] == ["a{b}", "a"]


@pytest.mark.parametrize("make", [Signal, Retry, Drop])
def test_an_unknown_option_is_an_error_of_ours(make: Any) -> None:
    with pytest.raises(InvalidOptionError, match="check the spelling"):
        make("a", aftre=1) if make is Signal else make(aftre=1)


def test_a_number_with_too_many_digits_for_a_name_is_refused() -> None:
    with pytest.raises(InvalidNameError, match="too many digits"):
        Signal("user_{user_id}")(user_id=10**5000)


def test_a_test_may_patch_the_methods_of_a_signal_and_gets_them_back() -> None:
    signal = Signal("user_{id}_paid")
    with mock.patch.object(signal, "send") as send:
        signal.send(3)
    send.assert_called_once_with(3)
    with mock.patch.object(signal, "send", autospec=True) as send, pytest.raises(TypeError):
        signal.send(1, 2, 3)  # type: ignore[misc]  # the mistake
    assert vars(signal) == {}
    assert signal == Signal("user_{id}_paid")


@pytest.mark.parametrize("name", ["template", "data_type", "filled_from", "name", "sned", "__class__", "__dict__"])
def test_nothing_else_of_a_signal_can_be_changed(name: str) -> None:
    signal = Signal("a")
    with pytest.raises(FrozenInstanceError, match="make another one"):
        setattr(signal, name, "b")
    with pytest.raises(FrozenInstanceError, match="make another one"):
        delattr(signal, name)
