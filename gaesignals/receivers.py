"""Receivers: which handlers a name has, and how each of them wants to be run.

Whatever cannot work is refused when it is connected, not when the first message arrives.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Concatenate, NoReturn, ParamSpec, TypeAlias, TypeVar, overload

from .connecting import declared, refuse_unknown, shape_of, template_of, wants_another_queue
from .errors import InvalidMappingError, InvalidOptionError, brief, reject_unknown
from .format.letter import KEPT_LETTERS, MAX_LETTERS
from .handler import DataHandler, Handler, identity, mark_decorated
from .matching import Matching
from .message import Message
from .receiver import Around, Match, Options, Receiver, concurrency_of
from .signal import Signal, name_of
from .signature import check_around, check_handler, check_on_dead
from .template import Template

if TYPE_CHECKING:
    from typing_extensions import Unpack

OnDead: TypeAlias = Callable[[Message, str], object]
HandlerT = TypeVar("HandlerT", bound=Handler)
DataT = TypeVar("DataT")
ResultT = TypeVar("ResultT")
P = ParamSpec("P")


class Receivers:
    """The handlers of an application, each connected to a name or a pattern of names.

    `on_dead` is called with each message that becomes a dead letter and the error of its last attempt, in the namespace
    of its sender as handlers are, so that it can be kept where nothing is evicted. A name keeps its newest
    `max_dead_letters`, up to 1,000 of them and to what fits 900 KB.

    `around` makes a context manager that is entered around every call of a handler, plain or `async def`: for what an
    application sets up and clears away for each. The failure of a handler is logged inside it, and then raised through
    it. One that fails itself has its message fail.
    """

    def __init__(
        self,
        *,
        on_dead: OnDead | None = None,
        around: Around | None = None,
        max_dead_letters: int = KEPT_LETTERS,
        **unknown: NoReturn,
    ) -> None:
        reject_unknown(unknown, where="Receivers()")
        if type(max_dead_letters) is not int or not 1 <= max_dead_letters <= MAX_LETTERS:
            raise InvalidOptionError(
                f"max_dead_letters={brief(max_dead_letters)} cannot be: give a whole number from 1 to {MAX_LETTERS}"
            )
        if on_dead is not None:
            check_on_dead(on_dead)
        if around is not None:
            check_around(around)
        self.on_dead = on_dead
        self.around = around
        self.max_dead_letters = max_dead_letters
        self._matching = Matching()

    @overload
    def connect(self, name: str, handler: Handler, *, batch: int | None = None, **options: Unpack[Options]) -> None: ...

    @overload
    def connect(
        self, name: Signal[DataT], handler: DataHandler[DataT], *, batch: None = None, **options: Unpack[Options]
    ) -> None: ...

    @overload
    def connect(
        self,
        name: Signal[DataT],
        handler: DataHandler[list[Message[DataT]]],
        *,
        batch: int,
        **options: Unpack[Options],
    ) -> None: ...

    def connect(
        self,
        name: str | Signal[Any],
        handler: Handler,
        *,
        batch: int | None = None,
        **options: Unpack[Options],
    ) -> None:
        """Have `handler` called for messages of `name`, which may be a pattern: `"user_{user_id}_login"`.

        The handler is called with a message's data, or with `batch` with a list of `Message`; and for a pattern with
        each field as a keyword. Data is of the type that a `Signal` declares, and as it was sent where none does.
        `reliable` delivers at least once, up to `max_attempts` (20) times. Before the second one it waits for a random
        part of `backoff_seconds` (10), doubled for each later one up to an hour; or as long as `backoff` says, a
        function of the number of the attempt that failed or a list of seconds. With `retry_on`, failures of other
        types become dead letters at once; those of a type in `drop_on` are none. The type that is closest to an error's
        own decides. Messages older than `max_age_seconds` are not run, and counted as expired: since they were sent,
        due or requeued.

        `id` is what retries know the receiver by, by default the handler's module and name. `concurrency` is how many
        messages an `async def` handler of one message is run for at a time, 10 if it is not given. `lease_seconds`, up
        to a day, is for a handler that takes longer than a delivery's usual lease allows, and `queue` names the queue
        of queue.yaml whose tasks deliver these names, so that its limits are theirs.

        Raises `InvalidNameError`, `InvalidMappingError` for a handler that cannot be called so, is connected to such
        names already or wants another queue than one that is, and `InvalidOptionError`.
        """
        refuse_unknown(options, where="connect()")
        self._add(declared(name, handler, batch, options, self.around))

    @overload
    def receiver(
        self, name: str, *, batch: int | None = None, **options: Unpack[Options]
    ) -> Callable[[HandlerT], HandlerT]: ...

    @overload
    def receiver(
        self, name: Signal[DataT], *, batch: None = None, **options: Unpack[Options]
    ) -> Callable[[Callable[Concatenate[DataT, P], ResultT]], Callable[Concatenate[DataT, P], ResultT]]: ...

    @overload
    def receiver(
        self, name: Signal[DataT], *, batch: int, **options: Unpack[Options]
    ) -> Callable[
        [Callable[Concatenate[list[Message[DataT]], P], ResultT]],
        Callable[Concatenate[list[Message[DataT]], P], ResultT],
    ]: ...

    def receiver(
        self,
        name: str | Signal[Any],
        *,
        batch: int | None = None,
        **options: Unpack[Options],
    ) -> Callable[[Any], Any]:
        """Connect the decorated function, with the options of `connect`, and return it."""
        refuse_unknown(options, where="receiver()")
        if callable(name) and not isinstance(name, Signal):
            raise InvalidMappingError('receiver needs a name: @receivers.receiver("my_signal")')
        template_of(name)

        def connect(handler: HandlerT) -> HandlerT:
            self._add(declared(name, handler, batch, options, self.around))
            mark_decorated(handler)
            return handler

        return connect

    def matching(self, name: str) -> tuple[Match, ...]:
        """Return the receivers of `name`, in the order in which they were connected."""
        return self._matching.of(name)

    def literal_names(self) -> tuple[str, ...]:
        """Return the names that receivers are connected to, without the patterns."""
        return self._matching.literal_names

    @property
    def has_patterns(self) -> bool:
        return self._matching.has_patterns

    def __iter__(self) -> Iterator[Receiver]:
        return iter(self._matching.all)

    def __len__(self) -> int:
        return len(self._matching.all)

    def __repr__(self) -> str:
        return f"<Receivers: {len(self)} connected>"

    def _add(self, receiver: Receiver) -> None:
        for other in self._matching.candidates(receiver.template):
            if other.id == receiver.id and other.template.overlaps(receiver.template):
                raise InvalidMappingError(
                    f"{receiver.id} is connected to {str(other.template)!r} already, so {str(receiver.template)!r} "
                    "could not tell its retries apart; give one of them an id="
                )
            if wants_another_queue(receiver, other):
                raise InvalidMappingError(
                    f"{receiver.id} wants {str(receiver.template)!r} delivered by the queue {receiver.queue!r}, and "
                    f"{other.id} by {other.queue!r}: a name has one queue; give both the same"
                )
        self._matching.add(receiver)


ReceiverMapping: TypeAlias = Receivers | Mapping[Any, Handler] | Iterable[tuple[str | Signal[Any], Handler]]


def as_receivers(mapping: ReceiverMapping, *, reliable: bool | None = None) -> Receivers:
    """Return `mapping` as `Receivers`: a list of pairs of a literal name and a handler, a dict of them, or `Receivers`.

    `reliable` None leaves receivers as they declare, plain handlers weak; True makes all reliable; False makes sure
    that none is. Raises `InvalidMappingError`, `InvalidNameError`, or `InvalidOptionError` for False over a reliable
    receiver.
    """
    if reliable is not None and not isinstance(reliable, bool):
        raise InvalidOptionError(f"reliable={brief(reliable)} cannot be: give True, False or None")
    if not isinstance(mapping, Receivers):
        return _from_pairs(_pairs(mapping), reliable=bool(reliable))
    if reliable is False:
        for receiver in mapping:
            if receiver.reliable:
                raise InvalidOptionError(f"reliable=False cannot be: {receiver.id} is connected as reliable")
    if not reliable or all(receiver.reliable for receiver in mapping):
        return mapping
    raised = Receivers(on_dead=mapping.on_dead, around=mapping.around, max_dead_letters=mapping.max_dead_letters)
    for receiver in mapping:
        raised._add(dataclasses.replace(receiver, reliable=True))
    return raised


def _from_pairs(pairs: Iterable[tuple[object, Any]], *, reliable: bool) -> Receivers:
    receivers = Receivers()
    seen: dict[tuple[str, str], int] = {}
    for name, handler in pairs:
        template = Template.literal(name_of(name))
        check_handler(handler, template, takes_batch=False)
        id = identity(handler)
        count = seen[str(template), id] = seen.get((str(template), id), 0) + 1
        receiver = Receiver(
            # Pairs may name a handler twice; a number keeps their retries apart, as long as their order stays.
            id=id if count == 1 else f"{id}#{count}",
            handler=handler,
            template=template,
            shape=shape_of(name),
            reliable=reliable,
            concurrency=concurrency_of(handler, batch=None),
            is_pair=True,
        )
        receivers._add(receiver)
    return receivers


def _pairs(mapping: object) -> Iterator[tuple[object, Any]]:
    if isinstance(mapping, Mapping):
        yield from mapping.items()
        return
    if isinstance(mapping, (str, bytes, Signal)) or not isinstance(mapping, Iterable):
        raise InvalidMappingError(
            f"a mapping is a list of pairs (name, handler), a dict or Receivers, not {brief(mapping)}"
        )
    for pair in mapping:
        if not isinstance(pair, (tuple, list)) or len(pair) != 2:
            raise InvalidMappingError(f"a mapping is a list of pairs (name, handler), but one is {brief(pair)}")
        yield pair[0], pair[1]
