"""Changing slots of the index: read, change, compare-and-set, and again for those that were lost."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from .connection import Connection, Seen, State
from .errors import StoreError
from .keys import slot_key, slot_of
from .slot import Slot
from .store import Outcome

SLOTS_A_CALL = 128
_MAX_ATTEMPTS = 50
_MAX_FAILURES = 3


def by_slot(names: Iterable[str]) -> dict[int, list[str]]:
    """Group `names` by the slot that lists them."""
    groups: dict[int, list[str]] = {}
    for name in names:
        groups.setdefault(slot_of(name), []).append(name)
    return groups


def read_slots(connection: Connection, slots: Iterable[int]) -> dict[int, Seen[Slot]]:
    """Read `slots`, 128 a call: a slot may be large."""
    numbers = list(slots)
    found: dict[int, Seen[Slot]] = {}
    for start in range(0, len(numbers), SLOTS_A_CALL):
        part = numbers[start : start + SLOTS_A_CALL]
        seen = connection.read([slot_key(number) for number in part], Slot.from_bytes)
        found.update((number, seen[slot_key(number)]) for number in part)
    return found


def write_slots(
    connection: Connection, seen: Mapping[int, Seen[Slot]], changed: Mapping[int, Slot]
) -> dict[int, Outcome]:
    """Write `changed` where the slots are still as they were `seen`."""
    writes = [seen[number].replaced_by(slot_key(number), slot) for number, slot in changed.items()]
    outcomes = connection.write(writes)
    return {number: outcomes[slot_key(number)] for number in changed}


def list_names(connection: Connection, due_ms: Mapping[str, int]) -> None:
    """List the names of `due_ms` at those times, in place of what their slots say.

    A slot is written even if nothing changes in it: whoever is about to take a name out loses its compare-and-set.
    Raises `StoreError` if a slot could not be written.
    """
    if due_ms:
        _repeat(connection, by_slot(due_ms), lambda slot, names, now_ms: slot.with_due(_part(due_ms, names), now_ms))


def _part(due_ms: Mapping[str, int], names: Iterable[str]) -> dict[str, int]:
    return {name: due_ms[name] for name in names}


def _repeat(
    connection: Connection, groups: dict[int, list[str]], change: Callable[[Slot, list[str], int], Slot]
) -> None:
    failures = 0
    for _ in connection.attempts(_MAX_ATTEMPTS):
        seen = read_slots(connection, groups)
        now_ms = connection.now_ms()
        changed = {
            number: change(seen[number].value or Slot(), names, now_ms)
            for number, names in groups.items()
            if seen[number].is_writable
        }
        outcomes = write_slots(connection, seen, changed) if changed else {}
        groups = {number: names for number, names in groups.items() if outcomes.get(number) is not Outcome.STORED}
        if not groups:
            return
        failures += any(
            outcomes.get(number, Outcome.FAILED) is Outcome.FAILED or seen[number].state is State.NEWER
            for number in groups
        )
        if failures >= _MAX_FAILURES:
            break
    raise StoreError(
        f"{sum(map(len, groups.values()))} names could not be listed in the index; they are found when they are "
        "sent to again or delivered by name"
    )
