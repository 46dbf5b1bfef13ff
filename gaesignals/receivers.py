"""Receivers: which handlers a name has, and how each of them wants to be run.

Whatever cannot work is refused when it is connected, not when the first message arrives.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, Final, NoReturn, TypeAlias, TypeVar

from .errors import InvalidMappingError, InvalidOptionError, reject_unknown
from .handlers import Handler, check_handler, check_on_dead, identity
from .message import Message
from .signal import Signal, Template, check_name, name_of

MAX_BATCH: Final = 1000
MAX_BACKOFF_SECONDS: Final = 7 * 86400
_CACHED_NAMES: Final = 10_000

OnDead: TypeAlias = Callable[[Message, str], object]
HandlerT = TypeVar("HandlerT", bound=Handler)


@dataclass(frozen=True, slots=True)
class Receiver:
    """A handler, the names it is for, and how it is run.

    `id` finds it again after a deploy. `batch` is the most messages a call of the handler gets as a list; None stands
    for a handler that takes the data of one. A message that fails is run again after about `backoff_seconds`, doubled
    each time, until `max_attempts` have been made. `is_pair` where it was made from a plain pair, whose name may have
    been made at run time.
    """

    id: str
    handler: Handler
    template: Template
    reliable: bool = False
    max_attempts: int = 20
    backoff_seconds: float = 10.0
    batch: int | None = None
    is_pair: bool = False


@dataclass(frozen=True, slots=True)
class Match:
    """A receiver of a name, with what the name holds for the fields of its pattern."""

    receiver: Receiver
    captures: Mapping[str, str]


class Receivers:
    """The handlers of an application, each connected to a name or a pattern of names.

    `on_dead` is called with each message that becomes a dead letter and the error of its last attempt, in the namespace
    of its sender as handlers are, so that it can be kept where nothing is evicted.
    """

    def __init__(self, *, on_dead: OnDead | None = None, **unknown: NoReturn) -> None:
        reject_unknown(unknown, where="Receivers()")
        if on_dead is not None:
            check_on_dead(on_dead)
        self.on_dead = on_dead
        self._receivers: list[Receiver] = []
        self._by_name: dict[str, list[tuple[int, Receiver]]] = {}
        self._patterns: list[tuple[int, Receiver]] = []
        self._matches: dict[str, tuple[Match, ...]] = {}

    def connect(
        self,
        name: str | Signal,
        handler: Handler,
        *,
        reliable: bool = False,
        batch: int | None = None,
        max_attempts: int = 20,
        backoff_seconds: float = 10.0,
        id: str | None = None,
        **unknown: NoReturn,
    ) -> None:
        """Have `handler` called for messages of `name`, which may be a pattern: `"user_{user_id}_login"`.

        The handler is called with a message's data, or with `batch` with a list of `Message`; and for a pattern with
        each field as a keyword. `reliable` delivers at least once, up to `max_attempts` times, and with about
        `backoff_seconds` before the second one, doubled for each later one. `id` is what retries know the receiver by,
        by default the handler's module and name.

        Raises `InvalidNameError`, `InvalidMappingError` for a handler that cannot be called so or is connected to such
        names already, and `InvalidOptionError`.
        """
        reject_unknown(unknown, where="connect()")
        template = _template(name)
        check_handler(handler, template, takes_batch=batch is not None)
        receiver = Receiver(
            id=identity(handler) if id is None else id,
            handler=handler,
            template=template,
            reliable=reliable,
            max_attempts=max_attempts,
            backoff_seconds=backoff_seconds,
            batch=batch,
        )
        _check_options(receiver)
        self._add(receiver)

    def receiver(
        self,
        name: str | Signal,
        *,
        reliable: bool = False,
        batch: int | None = None,
        max_attempts: int = 20,
        backoff_seconds: float = 10.0,
        id: str | None = None,
        **unknown: NoReturn,
    ) -> Callable[[HandlerT], HandlerT]:
        """Connect the decorated function, with the options of `connect`, and leave it as it is."""
        reject_unknown(unknown, where="receiver()")
        if callable(name) and not isinstance(name, Signal):
            raise InvalidMappingError('receiver needs a name: @receivers.receiver("my_signal")')
        _template(name)

        def connect(handler: HandlerT) -> HandlerT:
            self.connect(
                name,
                handler,
                reliable=reliable,
                batch=batch,
                max_attempts=max_attempts,
                backoff_seconds=backoff_seconds,
                id=id,
            )
            return handler

        return connect

    def matching(self, name: str) -> tuple[Match, ...]:
        """Return the receivers of `name`, in the order in which they were connected."""
        cache = self._matches
        matches = cache.get(name)
        if matches is None:
            if len(cache) >= _CACHED_NAMES:
                cache.clear()
            matches = cache[name] = tuple(self._search(name))
        return matches

    def literal_names(self) -> tuple[str, ...]:
        """Return the names that receivers are connected to, without the patterns."""
        return tuple(self._by_name)

    @property
    def has_patterns(self) -> bool:
        return bool(self._patterns)

    def __iter__(self) -> Iterator[Receiver]:
        return iter(tuple(self._receivers))

    def __len__(self) -> int:
        return len(self._receivers)

    def __repr__(self) -> str:
        return f"<Receivers: {len(self)} connected>"

    def _search(self, name: str) -> Iterator[Match]:
        for _, receiver in sorted(self._by_name.get(name, []) + self._patterns, key=itemgetter(0)):
            captures = receiver.template.match(name)
            if captures is not None:
                yield Match(receiver, captures)

    def _add(self, receiver: Receiver) -> None:
        for other in self._candidates(receiver.template):
            if other.id == receiver.id and other.template.overlaps(receiver.template):
                raise InvalidMappingError(
                    f"{receiver.id} is connected to {str(other.template)!r} already, so {str(receiver.template)!r} "
                    "could not tell its retries apart; give one of them an id="
                )
        is_literal = receiver.template.is_literal
        group = self._by_name.setdefault(str(receiver.template), []) if is_literal else self._patterns
        group.append((len(self._receivers), receiver))
        self._receivers.append(receiver)
        self._matches = {}

    def _candidates(self, template: Template) -> Iterable[Receiver]:
        """The receivers that may match a name that `template` matches: of literal names, there may be thousands."""
        if not template.is_literal:
            return self._receivers
        return [receiver for _, receiver in self._by_name.get(str(template), []) + self._patterns]


ReceiverMapping: TypeAlias = Receivers | Mapping[Any, Handler] | Iterable[tuple[str | Signal, Handler]]


def as_receivers(mapping: ReceiverMapping, *, reliable: bool | None = None) -> Receivers:
    """Return `mapping` as `Receivers`: a list of pairs of a literal name and a handler, a dict of them, or `Receivers`.

    `reliable` None leaves receivers as they declare, plain handlers weak; True makes all reliable; False makes sure
    that none is. Raises `InvalidMappingError`, `InvalidNameError`, or `InvalidOptionError` for False over a reliable
    receiver.
    """
    if reliable is not None and not isinstance(reliable, bool):
        raise InvalidOptionError(f"reliable={reliable!r} cannot be: give True, False or None")
    if not isinstance(mapping, Receivers):
        return _from_pairs(_pairs(mapping), reliable=bool(reliable))
    if reliable is False:
        for receiver in mapping:
            if receiver.reliable:
                raise InvalidOptionError(f"reliable=False cannot be: {receiver.id} is connected as reliable")
    if not reliable or all(receiver.reliable for receiver in mapping):
        return mapping
    raised = Receivers(on_dead=mapping.on_dead)
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
        # Pairs may name a handler twice; a number keeps their retries apart, as long as their order stays.
        receivers._add(Receiver(id if count == 1 else f"{id}#{count}", handler, template, reliable, is_pair=True))
    return receivers


def _pairs(mapping: object) -> Iterator[tuple[object, Any]]:
    if isinstance(mapping, Mapping):
        yield from mapping.items()
        return
    if isinstance(mapping, (str, bytes, Signal)) or not isinstance(mapping, Iterable):
        raise InvalidMappingError(
            f"a mapping is a list of pairs (name, handler), a dict or Receivers, not {mapping!r:.80}"
        )
    for pair in mapping:
        if not isinstance(pair, (tuple, list)) or len(pair) != 2:
            raise InvalidMappingError(f"a mapping is a list of pairs (name, handler), but one is {pair!r:.80}")
        yield pair[0], pair[1]


def _template(name: object) -> Template:
    return name.template if isinstance(name, Signal) else Template.parse(name)


def _check_options(receiver: Receiver) -> None:
    options: dict[str, tuple[object, bool, str]] = {
        "reliable": (receiver.reliable, isinstance(receiver.reliable, bool), "True or False"),
        "batch": (
            receiver.batch,
            receiver.batch is None or _is_whole(receiver.batch, most=MAX_BATCH),
            f"a whole number from 1 to {MAX_BATCH}, or None for one message a call",
        ),
        "max_attempts": (receiver.max_attempts, _is_whole(receiver.max_attempts), "a whole number from 1"),
        "backoff_seconds": (
            receiver.backoff_seconds,
            _is_number(receiver.backoff_seconds) and 0 <= receiver.backoff_seconds <= MAX_BACKOFF_SECONDS,
            f"0 to {MAX_BACKOFF_SECONDS} (seven days)",
        ),
        "id": (receiver.id, _is_id(receiver.id), "a short text without control characters"),
    }
    for option, (value, is_valid, wanted) in options.items():
        if not is_valid:
            raise InvalidOptionError(f"{option}={value!r:.80} cannot be: give {wanted}")


def _is_whole(value: object, *, most: float = math.inf) -> bool:
    return type(value) is int and 1 <= value <= most


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_id(value: object) -> bool:
    try:
        check_name(value)
    except ValueError:
        return False
    return True
