"""A store with a clock and randomness: calls kept within the store's limits, and values read as what they should be.

A value that cannot be read is a state and not an error, because one name's trouble must never touch the others of its
call. Undecodable values count as evicted: they are logged here, and replaced by whoever writes next.
"""

from __future__ import annotations

import enum
import logging
import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeAlias, TypeVar

from gaesignals.errors import DecodeError, NewerFormatError
from gaesignals.values import value

from .store import Absent, Add, CallLimits, Cas, Found, Outcome, Read, Store, Write

logger = logging.getLogger("gaesignals")

_ITEM_OVERHEAD_BYTES = 300
_LONGEST_PAUSE_SECONDS = 0.2

T = TypeVar("T")


class Storable(Protocol):
    def to_bytes(self) -> bytes: ...


class State(enum.Enum):
    """What a read found. `NEWER` is a later format version, which is left alone; `FAILED` says nothing."""

    FOUND = "found"
    MISSING = "missing"
    CORRUPT = "corrupt"
    NEWER = "newer"
    FAILED = "failed"


@value
class Seen(Generic[T]):
    """A value as it was read. `cas` is set where the key exists, so that a corrupt one can be replaced."""

    state: State
    value: T | None = None
    cas: object | None = None

    @property
    def is_writable(self) -> bool:
        return self.state not in (State.NEWER, State.FAILED)

    def replaced_by(
        self, key: bytes, value: Storable, *, ttl_seconds: int = 0, new_cas: bytes | None = None
    ) -> Add | Cas:
        """The write that stores `value` if the key is still as it was read."""
        encoded = value.to_bytes()
        if self.cas is None:
            return Add(key, encoded, ttl_seconds, new_cas)
        return Cas(key, encoded, self.cas, ttl_seconds, new_cas)


@dataclass(frozen=True, slots=True)
class Kind(Generic[T]):
    """What the values of some keys are, and about how many bytes one may have where that is many."""

    decode: Callable[[bytes], T]
    size: int = 0


class Connection:
    """A store, a clock in seconds since the epoch, and randomness for ids and jitter.

    Holds no lock and no state of a call, so it may be used from several threads at once.
    """

    def __init__(
        self,
        store: Store,
        *,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] | None = None,
        random: random.Random | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.store = store
        self.clock = clock
        # Durations are measured by a clock that nobody sets; one clock is enough where it is not the system's.
        self.monotonic = monotonic or (time.monotonic if clock is time.time else clock)
        self.random = random or _system_random
        self._sleep = sleep

    def on_call(self, verb: str) -> None:
        """Called for each call to the store, with its verb; does nothing here."""

    def now_ms(self) -> int:
        return int(self.clock() * 1000)

    def new_id(self) -> str:
        return self.random.randbytes(12).hex()

    def attempts(self, limit: int) -> Iterator[int]:
        """Count attempts up to `limit`, with a jittered pause before each from the fourth on."""
        for attempt in range(limit):
            if attempt > 2:
                self._sleep(self.random.uniform(0, min(_LONGEST_PAUSE_SECONDS, 0.002 * 2 ** min(attempt, 10))))
            yield attempt

    def took_long(self, started_ms: int) -> bool:
        """Whether what began then took about as long as the store lets a call take: it hangs, and so may the next."""
        deadline_seconds: float | None = getattr(self.store, "deadline_seconds", None)
        return deadline_seconds is not None and self.now_ms() - started_ms >= deadline_seconds * 900

    def gets(self, keys: Iterable[bytes]) -> dict[bytes, Read]:
        """Read any number of small values, as many a call as the store takes."""
        return self.gets_sized(dict.fromkeys(keys, 0))

    def gets_sized(self, sizes: Mapping[bytes, int]) -> dict[bytes, Read]:
        """Read the keys of `sizes`, whose values have about that many bytes, in as few calls as the limits allow."""
        return self._gets_all(list(sizes), sizes.__getitem__)

    def look(self, kinds: Mapping[bytes, Kind[Any]], read_as: Decoder | None = None) -> dict[bytes, Seen[Any]]:
        """Read values of several kinds together, in as few calls as the limits allow."""
        reads = self._gets_all(list(kinds), lambda key: kinds[key].size)
        read_as = read_as or decoded
        return {key: read_as(key, reads[key], kind.decode) for key, kind in kinds.items()}

    def _gets_all(self, keys: Sequence[bytes], size_of: Callable[[bytes], int]) -> dict[bytes, Read]:
        found: dict[bytes, Read] = dict.fromkeys(keys, Absent.FAILED)
        for chunk in _chunks(keys, size_of, self.store.limits):
            self.on_call("gets")
            started_ms = self.now_ms()
            reads = self.store.gets(chunk)
            if _is_all_failed(reads):
                # Pages and slots that are larger than they usually are may exceed what one answer may have.
                reads = {} if self.took_long(started_ms) else self._gets_in_parts(chunk)
                if _is_all_failed(reads) and self.took_long(started_ms):
                    break  # the next call would hang as well
            found |= reads
        return found

    def _gets_in_parts(self, keys: Sequence[bytes]) -> dict[bytes, Read]:
        """Read fewer keys a call, down to so few that they fit whatever they are; failing then has another cause."""
        found: dict[bytes, Read] = {}
        size = max(self.store.limits.sure_keys, len(keys) // 8)
        if len(keys) <= size:
            return found
        for start in range(0, len(keys), size):
            reads = self._gets_all(keys[start : start + size], lambda _: 0)
            if _is_all_failed(reads):
                break
            found |= reads
        return found

    def read(self, keys: Iterable[bytes], decode: Callable[[bytes], T]) -> dict[bytes, Seen[T]]:
        """Read small values of one kind."""
        return {key: decoded(key, read, decode) for key, read in self.gets(keys).items()}

    def write(self, writes: Sequence[Write]) -> dict[bytes, Outcome]:
        """Write any number of values. One that is too large for the store fails, and the others go on."""
        limits = self.store.limits
        outcomes = {write.key: Outcome.FAILED for write in writes}
        fitting = [write for write in writes if len(write.value) <= limits.value_bytes]
        if len(fitting) < len(writes):
            for key in outcomes.keys() - {write.key for write in fitting}:
                logger.error("a value is too large for the store and is not written", extra={"signals_key": ascii(key)})
        for chunk in _chunks(fitting, lambda write: len(write.value), limits):
            self.on_call("write")
            started_ms = self.now_ms()
            answers = self.store.write(chunk)
            outcomes |= answers
            if Outcome.STORED not in answers.values() and _are_unknown(answers) and self.took_long(started_ms):
                break  # the next call would hang as well
        return outcomes

    def delete(self, keys: Iterable[bytes]) -> None:
        """Delete what nothing refers to any more. Failing is harmless: it expires."""
        for chunk in _chunks(list(keys), lambda _: 0, self.store.limits):
            self.on_call("delete")
            self.store.delete(chunk)


Decoder: TypeAlias = Callable[[bytes, Read, Callable[[bytes], Any]], Seen[Any]]
"""Says what was read of a key, as `decoded` does."""

_system_random = random.SystemRandom()


def _is_all_failed(reads: Mapping[bytes, Read]) -> bool:
    return Found not in map(type, reads.values()) and Absent.MISSING not in reads.values()


def _are_unknown(answers: Mapping[bytes, Outcome]) -> bool:
    return all(answer is Outcome.FAILED for answer in answers.values())


def decoded(key: bytes, read: Read, decode: Callable[[bytes], T]) -> Seen[T]:
    """What `read` says of `key`."""
    if read is Absent.MISSING:
        return Seen(State.MISSING)
    if not isinstance(read, Found):
        return Seen(State.FAILED)
    try:
        return Seen(State.FOUND, decode(read.value), read.cas)
    except NewerFormatError:
        logger.warning("a stored value has a newer format and is left alone", extra={"signals_key": ascii(key)})
        return Seen(State.NEWER, cas=read.cas)
    except DecodeError as error:
        logger.error(
            "a stored value cannot be read and counts as evicted",
            extra={"signals_key": ascii(key), "signals_reason": str(error)},
        )
        return Seen(State.CORRUPT, cas=read.cas)


def _chunks(items: Sequence[T], size_of: Callable[[T], int], limits: CallLimits) -> Iterable[Sequence[T]]:
    """Divide `items` into what one call can hold; so few that they fit whatever their sizes are not divided."""
    if len(items) > limits.sure_keys:
        return _divided(items, size_of, limits)
    return [items] if items else []


def _divided(items: Sequence[T], size_of: Callable[[T], int], limits: CallLimits) -> Iterator[list[T]]:
    chunk: list[T] = []
    size = 0
    for item in items:
        item_size = size_of(item) + _ITEM_OVERHEAD_BYTES
        if chunk and (len(chunk) == limits.keys or size + item_size > limits.bytes):
            yield chunk
            chunk, size = [], 0
        chunk.append(item)
        size += item_size
    if chunk:
        yield chunk
