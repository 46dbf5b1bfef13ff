"""Signals: their names, the templates of names made at run time, the type of their data, and sending.

Everything about a name or its data is checked before anything is stored.
"""

from __future__ import annotations

import asyncio
from dataclasses import FrozenInstanceError
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, NoReturn, overload

from .data.codec import dumps
from .data.declaring import shape_of
from .data.shape import Shape, to_plain
from .due import due_of
from .errors import InvalidNameError, reject_unknown
from .mailbox.current import current_mailbox
from .template import Template, check_name
from .way import PLAIN, Way

if TYPE_CHECKING:
    # `Signal` alone stays what it was before it was generic: a signal of any data.
    from typing_extensions import TypeVar

    DataT = TypeVar("DataT", default=Any)
else:
    from typing import TypeVar

    DataT = TypeVar("DataT")


class _ReadOnly:
    """Has no attribute that can be set, but methods: a test may put something else in their place.

    `mock.patch.object(order_paid, "send")` sets the attribute of an instance, and takes it away again.
    """

    def __setattr__(self, name: str, value: object) -> None:
        self._refuse(name)
        object.__setattr__(self, name, value)

    def __delattr__(self, name: str) -> None:
        self._refuse(name)
        object.__delattr__(self, name)

    def _refuse(self, name: str) -> None:
        if name.startswith("__") or not callable(getattr(type(self), name, None)):
            raise FrozenInstanceError(f"{name!r} of a {type(self).__name__} cannot be changed; make another one")


class Signal(_ReadOnly, Generic[DataT]):
    """A name that can be sent, or a template that is called to fill it in.

    `Signal("order_paid")` is a name; `Signal("user_{user_id}_password_change")` a template. With `data_type`, a
    dataclass as a rule, data of that type alone is sent, and receivers that are connected to this signal are given it.
    `filled_from` is the template that the name was filled in from, if it was. `way` is how its messages travel. Equal
    to signals of the same name and data type.

    With `wake` they are handled at once and not with the next fan-out; with a number of seconds, after so long, so that
    more of them are handled together. With `durable` they survive whatever the store forgets. With `latest` only the
    newest counts: a send takes the place of those of its name that nobody has begun to handle.
    """

    __slots__ = ("data_type", "filled_from", "template", "way")

    template: Template
    data_type: Any
    filled_from: Template | None
    way: Way

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Signal):
            return NotImplemented
        return (self.template, self.data_type) == (other.template, other.data_type)

    def __hash__(self) -> int:
        return hash((self.template, self.data_type))

    @overload
    def __init__(
        self: Signal[Any],
        name: str,
        *,
        data_type: None = None,
        wake: bool | float = False,
        durable: bool = False,
        latest: bool = False,
    ) -> None: ...

    @overload
    def __init__(
        self,
        name: str,
        *,
        data_type: type[DataT],
        wake: bool | float = False,
        durable: bool = False,
        latest: bool = False,
    ) -> None: ...

    def __init__(
        self,
        name: str,
        *,
        data_type: Any = None,
        wake: bool | float = False,
        durable: bool = False,
        latest: bool = False,
        **unknown: NoReturn,
    ) -> None:
        """Raises `InvalidNameError` if `name` cannot be one, `InvalidOptionError` for options that cannot be."""
        reject_unknown(unknown, where="Signal()")
        self._set(Template.parse(name), data_type, None, Way.of(wake=wake, durable=durable, latest=latest))

    def _set(self, template: Template, data_type: Any, filled_from: Template | None, way: Way) -> None:
        if data_type is not None:
            shape_of(data_type)
        object.__setattr__(self, "template", template)
        object.__setattr__(self, "data_type", data_type)
        object.__setattr__(self, "filled_from", filled_from)
        object.__setattr__(self, "way", way)

    def __reduce__(self) -> tuple[Any, ...]:
        return _signal, (self.template, self.data_type, self.filled_from, self.way)

    @property
    def name(self) -> str:
        """The name, or the template as it is written."""
        return str(self.template)

    @property
    def pattern(self) -> str:
        """The template that its name was filled in from; empty where there is none, so the name is anything."""
        return str(self.filled_from) if self.filled_from else ""

    @property
    def shape(self) -> Shape | None:
        """How its data is checked, written and read; None where any data may be sent."""
        return None if self.data_type is None else shape_of(self.data_type)

    def __repr__(self) -> str:
        typed = "" if self.shape is None else f", data_type={self.shape}"
        return f"Signal({self.name!r}{typed})"

    def __call__(self, /, **fields: str | int) -> Signal[DataT]:
        """Fill in a template; return the signal of the name that results, with the same type of data.

        Raises `InvalidNameError` for fields that are missing, unknown or unfit, and for a name that cannot be one.
        """
        filled_from = self.filled_from if self.template.is_literal else self.template
        return _signal(Template.literal(self.template.fill(**fields)), self.data_type, filled_from, self.way)

    @overload
    def pair(self: Signal[None]) -> tuple[Signal[None], None]: ...

    @overload
    def pair(self, data: DataT) -> tuple[Signal[DataT], DataT]: ...

    def pair(self, data: Any = None) -> tuple[Signal[Any], Any]:
        """Return this signal with `data`, for `send_many`.

        A type checker cannot hold each pair of a list to the type of its own signal, since the list may have any mix of
        them: it does so here.
        """
        return self, data

    @overload
    def send(
        self: Signal[None],
        *,
        delay_seconds: float | None = None,
        at: datetime | None = None,
        transactional: bool = False,
    ) -> str: ...

    @overload
    def send(
        self,
        data: DataT,
        *,
        delay_seconds: float | None = None,
        at: datetime | None = None,
        transactional: bool = False,
    ) -> str: ...

    def send(
        self,
        data: Any = None,
        *,
        delay_seconds: float | None = None,
        at: datetime | None = None,
        transactional: bool = False,
        **unknown: NoReturn,
    ) -> str:
        """Store a message with `data` for this signal's receivers; return its id.

        That takes two calls to the store, and a third where the data is over about 2 KB or a page is full. With
        `delay_seconds`, or `at`, an aware datetime, it is handled then, at most 29 days ahead. With `transactional` it
        comes with the commit of the ndb or db transaction that is open here, or not at all. Either takes one call, to
        App Engine's queue service, and up to 90 KB.

        Raises `InvalidNameError` for a template that is not filled in, `InvalidDataError` for data that cannot be
        carried or is not of the signal's type and `InvalidOptionError` for a time that cannot be, before anything is
        stored; `StoreError` if it is not certain that the message is stored.
        """
        reject_unknown(unknown, where="send()")
        outgoing = [(name_of(self), payload_of(self, data))]
        mailbox = current_mailbox()
        due = due_of(delay_seconds=delay_seconds, at=at, now=mailbox.clock())
        (message_id,) = mailbox.send(
            outgoing, pattern=self.pattern, ways=[self.way], due=due, transactional=transactional
        )
        return message_id

    @overload
    async def asend(self: Signal[None], *, delay_seconds: float | None = None, at: datetime | None = None) -> str: ...

    @overload
    async def asend(self, data: DataT, *, delay_seconds: float | None = None, at: datetime | None = None) -> str: ...

    async def asend(
        self,
        data: Any = None,
        *,
        delay_seconds: float | None = None,
        at: datetime | None = None,
        **unknown: NoReturn,
    ) -> str:
        """As `send`, for coroutines: it is made in another thread, and others run meanwhile.

        That thread has the caller's context variables, and so its request and its mailbox. Transactions belong to their
        threads, so there is no `transactional`. Where the caller is cancelled, the message may be stored all the same.
        """
        reject_unknown(unknown, where="asend()")
        return await asyncio.to_thread(partial(self.send, data, delay_seconds=delay_seconds, at=at))


def _signal(template: Template, data_type: Any, filled_from: Template | None = None, way: Way = PLAIN) -> Signal[Any]:
    made: Signal[Any] = object.__new__(Signal)
    made._set(template, data_type, filled_from, way)
    return made


def payload_of(name: object, data: object) -> bytes:
    """`data` as it is stored, checked against what the signal declares."""
    shape = name.shape if isinstance(name, Signal) else None
    return dumps(data if shape is None else to_plain(shape, data))


def name_of(name: object) -> str:
    """Return the literal name that `name`, a str or a `Signal`, stands for.

    Raises `InvalidNameError` if it cannot be one, or is a template that is not filled in.
    """
    if not isinstance(name, Signal):
        return check_name(name)
    if not name.template.is_literal:
        example = ", ".join(f"{field}=..." for field in name.template.fields)
        raise InvalidNameError(
            name.name, f"it is a template; fill it in by calling it: Signal({name.name!r})({example})"
        )
    return name.template.literals[0]
