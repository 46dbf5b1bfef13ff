"""Data of a declared type: checked when it is sent, plain while it waits, rebuilt when it is delivered."""

from __future__ import annotations

import copy
import dataclasses
import enum
import logging
import pickle
from collections.abc import Callable, Sequence
from dataclasses import InitVar, dataclass, field
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from typing import Annotated, Any, Generic, Literal, NamedTuple, NewType, Optional, TypedDict, TypeVar, Union
from uuid import UUID

import pytest
from typing_extensions import NotRequired, Required

from gaesignals import (
    DecodeError,
    InvalidDataError,
    InvalidOptionError,
    Message,
    Receivers,
    Signal,
    deliver,
    send_many,
    waiting_names,
)
from gaesignals.data import codec
from gaesignals.data.declaring import shape_of
from gaesignals.data.shape import from_plain, to_plain
from gaesignals.mailbox.box import Mailbox
from gaesignals.mailbox.dead import DeadLetters
from gaesignals.testing import ManualClock, MemoryStore, SignalsFixture

T = TypeVar("T")
Euros = NewType("Euros", Decimal)


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Right(enum.Flag):
    READ = 1
    WRITE = 2


@dataclass(frozen=True)
class Line:
    sku: str
    count: int = 1


@dataclass(slots=True)
class Tree:
    name: str
    children: list[Tree] = field(default_factory=list)
    parent: Tree | None = None


@dataclass
class Paid:
    order: int
    price: Decimal = Decimal("1.50")
    lines: list[Line] = field(default_factory=list)
    note: str | None = None
    first: Line | None = None


@dataclass
class Tracked(Paid):
    carrier: str = field(default="post", kw_only=True)
    length: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self.length = len(self.lines)


@dataclass
class Fussy:
    count: int

    def __post_init__(self) -> None:
        if self.count < 0:
            raise ValueError(f"a secret {self.count}")


UTC_NOON = datetime(2026, 5, 4, 12, tzinfo=timezone.utc)
EXAMPLES: list[tuple[Any, Any]] = [
    (Paid, Paid(1)),
    (Paid, Paid(2, Decimal(3), [Line("a"), Line("b", 2)], "n", Line("c"))),
    (Tracked, Tracked(1, lines=[Line("a")], carrier="boat")),
    (Tree, Tree("a", [Tree("b", [Tree("c")]), Tree("d")], Tree("e"))),
    (list[Line], [Line("a"), Line("b")]),
    (dict[str, Line], {"a": Line("a")}),
    (dict[Color, list[Line]], {Color.RED: [Line("a")]}),
    (dict[tuple[int, str], Decimal], {(1, "a"): Decimal(1)}),
    (tuple[Line, ...], (Line("a"), Line("b"))),
    (tuple[Line, int], (Line("a"), 2)),
    (tuple[()], ()),
    (set[Line], {Line("a"), Line("b")}),
    (frozenset[Line], frozenset({Line("a")})),
    (set[int], {1, 2}),
    (set[Color], {Color.RED, Color.BLUE}),
    (set[frozenset[tuple[int, ...]]], {frozenset({(1, 2)})}),
    (Optional[Line], None),  # noqa: UP045 - as older code has it
    (Union[int, str, None, Line], "a"),  # noqa: UP007 - as older code has it
    (Line | None, Line("a")),
    (list[Line] | Line | None, [Line("a")]),
    (int | list[int | None], [1, None]),
    (Color, Color.BLUE),
    (Level, Level.HIGH),
    (Right, Right.READ | Right.WRITE),
    (Color | None, None),
    (Literal["a", 1], 1),
    (Euros, Decimal(5)),
    (Annotated[int, "seconds"], 5),
    (Any, {"a": [1, (2,)]}),
    (list, [1, "a", None]),
    (dict, {"a": {1: 2}}),
    (tuple, (1, "a")),
    (float, 5),
    (date, datetime(2026, 5, 4, 12)),
    *(
        (type(value), value)
        for value in (True, 2**70, 1.5, "é", b"\0", UTC_NOON, date(2026, 5, 4), time(12), UUID(int=5))
    ),
    *((type(value), value) for value in (datetime(2026, 5, 4), timedelta(1), Decimal("1.50"), Fraction(1, 3), None)),
]


def types_in(value: Any) -> Any:
    """The types of a value and its parts, since 1 == True == 1.0."""
    if dataclasses.is_dataclass(value):
        return type(value), [types_in(getattr(value, one.name)) for one in dataclasses.fields(value)]
    if isinstance(value, dict):
        return dict, [(types_in(key), types_in(item)) for key, item in value.items()]
    return type(value), [types_in(item) for item in value] if isinstance(value, (list, tuple)) else None


def parts(plain: Any) -> list[Any]:
    """A plain value and all that is in it."""
    inner = [*plain, *plain.values()] if isinstance(plain, dict) else plain
    return (
        [plain, *(part for item in inner for part in parts(item))]
        if isinstance(plain, (dict, list, tuple))
        else [plain]
    )


@pytest.mark.parametrize(("data_type", "data"), EXAMPLES)
def test_data_comes_back_equal_and_of_its_types(data_type: Any, data: Any) -> None:
    shape = shape_of(data_type)
    plain = to_plain(shape, data)
    rebuilt = from_plain(shape, codec.loads(codec.dumps(plain)))
    assert rebuilt == data
    assert types_in(rebuilt) == types_in(data)
    assert not any(dataclasses.is_dataclass(part) or isinstance(part, enum.Enum) for part in parts(plain))


def test_what_waits_is_a_plain_dict_that_anybody_can_read(mailbox: Mailbox) -> None:
    seen: list[Any] = []
    Signal("order_paid", data_type=Paid).send(Paid(7, lines=[Line("a")], first=Line("b")))
    deliver([("order_paid", seen.append)])
    line = {"sku": "a", "count": 1}
    assert seen == [
        {"order": 7, "price": Decimal("1.50"), "lines": [line], "note": None, "first": {"sku": "b", "count": 1}}
    ]


WRONG: list[tuple[Any, Any, str]] = [
    (Paid, None, "data is of type None; Paid is declared"),
    (Paid, {"order": 1}, "data is of type dict; Paid is declared"),
    (Paid, Tracked(1), "data is of type Tracked; Paid is declared"),
    (Paid, Paid("1"), "data.order is of type str; int is declared"),  # type: ignore[arg-type]  # the mistake
    (Paid, Paid(1, lines=[Line("a"), Line(5)]), r"data.lines\[1\].sku is of type int; str is declared"),  # type: ignore[arg-type]
    (Paid, Paid(1, lines=(Line("a"),)), r"data.lines is of type tuple; list\[Line\] is declared"),  # type: ignore[arg-type]
    (Paid, Paid(1, note=5), r"data.note is of type int; str \| None is declared"),  # type: ignore[arg-type]
    (Paid, Paid(1, first=Line("a", "b")), "data.first.count is of type str; int is declared"),  # type: ignore[arg-type]
    (Paid, Paid(1, first={"sku": "a"}), r"data.first is of type dict; Line \| None is declared"),  # type: ignore[arg-type]
    (dict[str, Line], {"k": Line(1)}, r'data\["k"\].sku is of type int'),  # type: ignore[arg-type]
    (dict[str, int], {1: 1}, "data<key 1> is of type int; str is declared"),
    (dict[str, int], [], "data is of type list"),
    (set[Line], {1}, "data<an element> is of type int; Line is declared"),
    (tuple[int, str], (1,), r"data has 1 items; tuple\[int, str\] is declared"),
    (tuple[int, str], (1, 2), r"data\[1\] is of type int; str is declared"),
    (tuple[int, str], [1, "a"], "data is of type list"),
    (Literal["a", 1], "b", "data is none of the values that are declared"),
    (Literal[1], True, "data is of type bool"),
    (Color, "red", "data is of type str; Color is declared"),
    (int, 1.0, "data is of type float; int is declared"),
    (datetime, date(2026, 5, 4), "data is of type date; datetime is declared"),
]


@pytest.mark.parametrize(("data_type", "data", "said"), WRONG)
def test_wrong_data_is_refused_with_its_place_before_anything_is_stored(
    mailbox: Mailbox, store: MemoryStore, data_type: Any, data: Any, said: str
) -> None:
    with pytest.raises(InvalidDataError, match=said):
        Signal("a", data_type=data_type).send(data)
    with pytest.raises(InvalidDataError, match=said):
        send_many([("b", 1), (Signal("a", data_type=data_type), data)])
    assert store.calls == []


def test_a_field_that_has_no_value_is_refused(mailbox: Mailbox) -> None:
    paid = Paid(1)
    del paid.order
    with pytest.raises(InvalidDataError, match=r"data\.order has no value"):
        Signal("a", data_type=Paid).send(paid)


def test_data_that_contains_itself_is_refused(mailbox: Mailbox) -> None:
    tree = Tree("a")
    tree.children.append(tree)
    with pytest.raises(InvalidDataError, match="contains itself"):
        Signal("a", data_type=Tree).send(tree)


class Untyped(TypedDict):
    order: complex


class Values(enum.Enum):
    ONE = (1, 2)


@dataclass
class Box(Generic[T]):
    content: T


@dataclass
class Secretive:
    order: int
    key: InitVar[str]


@dataclass(init=False)
class OwnInit:
    order: int

    def __init__(self, text: str) -> None:
        self.order = int(text)


@dataclass
class Misspelt:
    order: Odrer  # type: ignore[name-defined]  # noqa: F821 - the mistake


@dataclass
class Abstract:
    lines: Sequence[Line]


@pytest.mark.parametrize(
    ("data_type", "said"),
    [
        (complex, "complex.* is no type that can be carried; use a dataclass"),
        (Untyped, r"Untyped.order: .*complex.* is no type that can be carried"),
        (Callable, "is no type that can be carried"),
        ("Paid", "'Paid' is no type that can be carried"),
        (5, "5 is no type that can be carried"),
        ([int], "give a type"),
        (Values, r"Values.ONE has a value of type tuple"),
        (Box, "Box.content: ~T is no type|Box is generic"),
        (Secretive, "Secretive.key is an InitVar"),
        (OwnInit, r"OwnInit\(...\) does not take its fields as keywords"),
        (Misspelt, "the types of Misspelt's fields cannot be looked up .*top of a module"),
        (Abstract, "Abstract.lines: .*Sequence.* is no type that can be carried"),
        (dict[Line, int], "Line cannot be the key of a dict"),
        (Paid | Tree, "Paid and Tree could not be told apart"),
        (Color | str, "Color and str could not be told apart"),
        (list[Line] | list[int], r"could not be told apart"),
        (Literal[Color.RED], "is not of plain values"),
    ],
)
def test_a_type_that_cannot_be_carried_is_refused_where_the_signal_is_declared(data_type: Any, said: str) -> None:
    with pytest.raises(InvalidOptionError, match=f"^data_type=.* cannot be: .*{said}"):
        Signal("a", data_type=data_type)


# Rolling deploys


@dataclass
class PaidOfTomorrow:
    order: int
    lines: list[Line] = field(default_factory=list)
    currency: str = "EUR"


def test_an_older_receiver_leaves_out_what_it_does_not_know_and_a_newer_one_fills_in(mailbox: Mailbox) -> None:
    seen: list[Any] = []
    today, tomorrow = Signal("order_paid", data_type=Paid), Signal("order_paid", data_type=PaidOfTomorrow)
    tomorrow.send(PaidOfTomorrow(1, [Line("a")], "USD"))
    deliver([(today, seen.append)])
    today.send(Paid(2, note="x"))
    deliver([(tomorrow, seen.append)])
    assert seen == [Paid(1, lines=[Line("a")]), PaidOfTomorrow(2, currency="EUR")]


def test_an_untyped_sender_and_a_typed_receiver_meet_in_a_dict(mailbox: Mailbox) -> None:
    seen: list[Any] = []
    Signal("order_paid").send({"order": 5, "lines": [{"sku": "a"}]})
    deliver([(Signal("order_paid", data_type=Paid), seen.append)])
    assert seen == [Paid(5, lines=[Line("a")])]


UNREADABLE: list[tuple[Any, Any, str]] = [
    (Paid, {}, r"data\.order is missing, and Paid has no default for it"),
    (Paid, {"order": "1"}, r"data\.order is of type str; int is declared"),
    (Paid, {"order": 1, "lines": [{"count": 1}]}, r"data\.lines\[0\]\.sku is missing"),
    (Paid, None, "data is of type None"),
    (Paid, [1], "data is of type list"),
    (Fussy, {"count": -1}, r"data is refused by Fussy\(...\), which raised ValueError"),
    (Color, "green", "data is no value of Color"),
    (Color, 1, "data is of type int"),
    (dict[str, int], {"a secret": "x"}, r"data\[\.\.\.\] is of type str"),
    (dict[str, int], {5: 1}, "data<a key> is of type int"),
    (set[Tree], [{"name": "a"}], "data has an element that cannot be in a set"),
    (set[Line], {1}, "data is of type set"),
    (tuple[int, str], (1, 2, 3), "data has 3 items"),
]


@pytest.mark.parametrize(("data_type", "data", "said"), UNREADABLE)
def test_a_payload_that_cannot_be_rebuilt_says_where_and_never_what(data_type: Any, data: Any, said: str) -> None:
    with pytest.raises(DecodeError, match=f"cannot be rebuilt: {said}") as caught:
        from_plain(shape_of(data_type), data)
    assert "secret" not in str(caught.value)


def test_a_message_that_cannot_be_rebuilt_fails_alone_and_ends_as_a_dead_letter(
    mailbox: Mailbox, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[Any] = []
    receivers = Receivers()
    receivers.connect(Signal("a", data_type=Paid), seen.append, reliable=True, max_attempts=2, id="typed")
    receivers.connect("a", lambda data: None, reliable=True, id="untyped")
    send_many([("a", {"order": 1}), ("a", {"order": "one"}), ("a", {"order": 3})])
    report = deliver(receivers)
    assert (report.delivered, report.failed, report.retried) == (2, 1, 1)
    clock.advance(4000)
    assert deliver(receivers).dead == 1
    assert [paid.order for paid in seen] == [1, 3]
    [letter] = DeadLetters(mailbox).list("a")
    assert (letter.data, letter.receivers) == ({"order": "one"}, ("typed",))
    assert "data.order is of type str; int is declared" in letter.error
    levels = [record.levelno for record in caplog.records if record.message == "a handler failed"]
    assert levels == [logging.WARNING, logging.ERROR]


def test_a_batch_handler_is_given_what_can_be_rebuilt(mailbox: Mailbox) -> None:
    seen: list[Paid] = []
    receivers = Receivers()
    order_paid = Signal("a", data_type=Paid)

    @receivers.receiver(order_paid, batch=10, reliable=True)
    def count(messages: list[Message[Paid]]) -> None:
        seen.extend(message.data for message in messages)

    send_many([(order_paid, Paid(1)), ("a", "not one"), (order_paid, Paid(2))])
    report = deliver(receivers)
    assert (report.delivered, report.retried) == (2, 1)
    assert seen == [Paid(1), Paid(2)]


def test_each_receiver_gets_data_of_its_own(mailbox: Mailbox) -> None:
    seen: list[Any] = []
    signal = Signal("a", data_type=Paid)

    def change(paid: Paid) -> None:
        paid.lines.append(Line("changed"))

    signal.send(Paid(1))
    deliver([(signal, change), (signal, seen.append), ("a", seen.append)])
    assert seen[0] == Paid(1)
    assert seen[1]["order"] == 1


# Typed signals


def test_a_template_keeps_its_type_when_it_is_filled_in(mailbox: Mailbox) -> None:
    seen: list[tuple[Paid, str]] = []
    receivers = Receivers()
    paid_by = Signal("user_{user_id}_paid", data_type=Paid)

    @receivers.receiver(paid_by)
    def charge(paid: Paid, *, user_id: str) -> None:
        seen.append((paid, user_id))

    with pytest.raises(InvalidDataError):
        paid_by(user_id=5).send({"order": 1})  # type: ignore[arg-type]  # the mistake
    paid_by(user_id=5).send(Paid(1))
    deliver(receivers, names=waiting_names(receivers))
    assert seen == [(Paid(1), "5")]


def test_signals_are_equal_if_name_and_type_are() -> None:
    typed = Signal("a", data_type=Paid)
    assert typed == Signal("a", data_type=Paid)
    assert hash(typed) == hash(Signal("a", data_type=Paid))
    assert len({typed, Signal("a"), Signal("a", data_type=Tree), Signal("b", data_type=Paid)}) == 4
    assert repr(typed) == "Signal('a', data_type=Paid)"


def test_a_mapping_keeps_a_typed_and_an_untyped_signal_of_a_name_apart(mailbox: Mailbox) -> None:
    seen: list[Any] = []
    typed = Signal("a", data_type=Paid)
    typed.send(Paid(1))
    deliver({typed: seen.append, Signal("a"): lambda data: seen.append(data["order"])})
    assert seen == [Paid(1), 1]


@pytest.mark.parametrize("signal", [Signal("a", data_type=Paid), Signal("{b}", data_type=list[Line])(b="c")], ids=repr)
def test_a_typed_signal_survives_copying_and_pickling_and_cannot_be_changed(signal: Signal[Any]) -> None:
    assert copy.deepcopy(signal) == pickle.loads(pickle.dumps(signal)) == signal
    with pytest.raises(dataclasses.FrozenInstanceError):
        signal.data_type = int  # type: ignore[misc]  # the mistake


def test_a_signal_may_be_made_with_its_type_in_brackets(mailbox: Mailbox) -> None:
    assert Signal[Paid]("a", data_type=Paid) == Signal("a", data_type=Paid)


def test_making_all_receivers_reliable_keeps_their_types(mailbox: Mailbox) -> None:
    seen: list[Any] = []
    receivers = Receivers()
    receivers.connect(Signal("a", data_type=Paid), seen.append)
    Signal("a", data_type=Paid).send(Paid(1))
    deliver(receivers, reliable=True)
    assert seen == [Paid(1)]


def test_the_fixture_for_tests_tells_what_was_sent_in_its_type() -> None:
    order_paid = Signal("order_paid", data_type=Paid)
    with SignalsFixture() as signals:
        order_paid.send(Paid(1))
        assert signals.sent(order_paid) == [Paid(1)]
        assert signals.sent("order_paid")[0]["order"] == 1


# TypedDict and NamedTuple


class Point(NamedTuple):
    x: int
    y: float = 0.5
    label: str | None = None


class Address(TypedDict):
    street: str
    city: NotRequired[str]


class Order(TypedDict, total=False):
    id: Required[int]
    points: list[Point]
    address: Address
    after: Order


@pytest.mark.parametrize(
    ("data_type", "data", "plain"),
    [
        (Point, Point(1, 2.0, "a"), {"x": 1, "y": 2.0, "label": "a"}),
        (dict[str, Point], {"a": Point(1)}, {"a": {"x": 1, "y": 0.5, "label": None}}),
        (set[Point], {Point(1)}, [{"x": 1, "y": 0.5, "label": None}]),
        (Address, {"street": "High Street"}, {"street": "High Street"}),
        (Address, {"city": "York", "street": "High Street"}, {"city": "York", "street": "High Street"}),
        (
            Order,
            {"id": 1, "points": [Point(1)], "after": {"id": 0}},
            {"id": 1, "points": [{"x": 1, "y": 0.5, "label": None}], "after": {"id": 0}},
        ),
    ],
)
def test_a_typed_dict_and_a_named_tuple_travel_as_dicts_and_come_back(data_type: Any, data: Any, plain: Any) -> None:
    shape = shape_of(data_type)
    assert to_plain(shape, data) == plain
    back = from_plain(shape, plain)
    assert back == data
    assert type(back) is type(data)


@pytest.mark.parametrize(
    ("data_type", "data", "said"),
    [
        (Address, {}, 'data["street"] is missing, and Address requires it'),
        (Address, {"street": "a", "zip": 5}, 'data["zip"] is no key of Address'),
        (Address, {"street": 5}, 'data["street"] is of type int; str is declared'),
        (Address, [("street", "a")], "data is of type list; Address is declared"),
        (Order, {"id": 1, "points": [(1, 2)]}, 'data["points"][0] is of type tuple; Point is declared'),
        (Point, Point("1"), "data.x is of type str; int is declared"),
    ],
)
def test_what_is_not_as_declared_is_refused_at_send(data_type: Any, data: Any, said: str) -> None:
    with pytest.raises(InvalidDataError) as caught:
        to_plain(shape_of(data_type), data)
    assert str(caught.value) == said


def test_keys_and_fields_that_a_receiver_does_not_know_are_left_out_and_defaults_made_up_for() -> None:
    assert from_plain(shape_of(Address), {"street": "a", "zip": 5}) == {"street": "a"}
    assert from_plain(shape_of(Point), {"x": 1, "z": 3}) == Point(1)
    with pytest.raises(DecodeError, match="is missing"):
        from_plain(shape_of(Address), {})


def test_a_value_of_a_subclass_is_refused_with_what_makes_it_plain() -> None:
    class Safe(str):
        def __str__(self) -> str:
            return self

    with pytest.raises(InvalidDataError, match=r"is of type .*Safe; str is declared: send str\.__str__\(value\)"):
        to_plain(shape_of(Address), {"street": Safe("a")})
