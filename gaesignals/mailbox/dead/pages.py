"""The pages of dead letters, and the index of names that have some: one planner changes both."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial
from operator import eq
from typing import Any, Final

from gaesignals.errors import LeftAloneError, StoreError
from gaesignals.format.keys import dead_key, dead_names_key, dead_names_page_of
from gaesignals.format.letter import DeadNames, DeadPage
from gaesignals.mailbox.box import Mailbox
from gaesignals.mailbox.rewrite import Fate, Plan, rewrite
from gaesignals.stores.client import Kind, Seen, State
from gaesignals.stores.store import Set

_EMPTY_TTL_SECONDS = 300
_MAX_ATTEMPTS = 30
DEAD_PAGE: Final = Kind(DeadPage.from_bytes)
DEAD_INDEX: Final = Kind(DeadNames.from_bytes)


class _ChangingPages:
    """The planner of a change of dead pages and then of the index, which says how many letters each of them has.

    A call is not one moment, so a page and its count are never written in one: somebody might count the page in
    between, and take a name out that has letters. A count is of a page as it was after the index was read that it is
    written to. So whoever changes a page later counts it later, too.

    A page that is as it was to become is not written again: somebody may take a letter out in between and delete its
    body. `missed` are the names for which it is not certain that the change is stored, and in the index.
    """

    def __init__(
        self,
        names: Iterable[str],
        change: Callable[[str, DeadPage], DeadPage],
        bodies: Mapping[str, Sequence[Set]],
    ) -> None:
        self._change = change
        self._bodies = bodies
        self._names = {dead_key(name): name for name in names}
        self._indexes: dict[bytes, list[bytes]] = {}
        for key, name in self._names.items():
            self._indexes.setdefault(dead_names_key(dead_names_page_of(name)), []).append(key)
        self._todo = set(self._names)
        self._unlisted = set(self._names)
        self._index_ids: dict[bytes, object] = {}
        self._counts: dict[bytes, int] = {}
        self._written: dict[bytes, int] = {}
        self._counted: dict[bytes, Collection[bytes]] = {}
        self._garbage: dict[bytes, set[bytes]] = {}
        self._tasks: dict[bytes, set[str]] = {}
        self._given_up: set[bytes] = set()

    @property
    def missed(self) -> frozenset[str]:
        return frozenset(self._names[key] for key in self._unlisted)

    def wanted(self) -> Mapping[bytes, Kind[Any]]:
        kinds: dict[bytes, Kind[Any]] = {}
        for index, pages in self._indexes.items():
            # Without its index there is nothing to do for a page.
            left = [key for key in pages if key in self._unlisted and not self._given_up & {key, index}]
            if left:
                kinds |= {key: DEAD_PAGE for key in left if key not in self._counts} | {index: DEAD_INDEX}
        return kinds

    def plan(self, seen: Mapping[bytes, Seen[Any]]) -> Iterable[Plan]:
        pages = {key: seen[key].value or DeadPage() for key in self._names if key in seen and seen[key].is_writable}
        yield from (self._changed(key, page, seen[key]) for key, page in pages.items() if key in self._todo)
        counts = {key: len(page.letters) for key, page in pages.items() if key not in self._todo}
        for index in self._indexes:
            if index in seen and seen[index].is_writable:
                yield from self._listing(index, seen[index], counts)

    def _changed(self, key: bytes, before: DeadPage, seen: Seen[DeadPage]) -> Plan:
        name = self._names[key]
        after = self._change(name, before)
        # A body that an attempt before would have let go, and lost, is none if it is kept now.
        bodies = self._garbage.get(key, set()) | before.bodies | {body.key for body in self._bodies.get(name, ())}
        self._garbage[key] = bodies - after.bodies
        self._tasks[key] = (self._tasks.get(key, set()) | before.tasks) - after.tasks
        self._written[key] = len(after.letters)
        ttl_seconds = 0 if after.letters else _EMPTY_TTL_SECONDS
        return Plan(key, seen, after, ttl_seconds, self._bodies.get(name, ()), is_mine=partial(eq, after))

    def _listing(self, index: bytes, seen: Seen[DeadNames], read: Mapping[bytes, int]) -> Iterable[Plan]:
        """List the pages that are done. Where the index has changed they are counted anew, by the next reading."""
        pages = self._indexes[index]
        if index not in self._index_ids or self._index_ids[index] != seen.cas:
            self._index_ids[index] = seen.cas
            for key in pages:
                self._counts.pop(key, None)
            return
        self._counts |= {key: read[key] for key in pages if key in read}
        counted = [key for key in pages if key in self._counts]
        if counted:
            self._counted[index] = counted
            counts = {self._names[key]: self._counts[key] for key in counted}
            yield Plan(index, seen, (seen.value or DeadNames()).with_counts(counts))

    def learn(self, plan: Plan, fate: Fate) -> None:
        if plan.key in self._indexes:
            if fate is Fate.STORED:
                self._unlisted.difference_update(self._counted[plan.key])
        elif fate in (Fate.STORED, Fate.FOUND):
            self._todo.discard(plan.key)
            self._counts[plan.key] = self._written[plan.key]

    def give_up(self, key: bytes, reason: str) -> None:
        self._given_up.add(key)

    def garbage(self) -> set[bytes]:
        """The bodies that no letter refers to any more, and those of new letters that have no place on their page."""
        return {body for key, bodies in self._garbage.items() if key not in self._todo for body in bodies}

    def tasks(self) -> set[str]:
        """The tasks of letters that are gone."""
        return {task for key, tasks in self._tasks.items() if key not in self._todo for task in tasks}


def change(
    mailbox: Mailbox,
    names: Iterable[str],
    change: Callable[[str, DeadPage], DeadPage],
    bodies: Mapping[str, Sequence[Set]] | None = None,
) -> frozenset[str]:
    """Make `change` on the dead pages of `names`; return those for which it is not certain that the change is stored.

    `bodies` are written before the pages that refer to them.
    """
    changing = _ChangingPages(names, change, bodies or {})
    rewrite(mailbox, changing, attempts=_MAX_ATTEMPTS)
    mailbox.delete(changing.garbage())
    mailbox.safety.release_tasks(changing.tasks())
    return changing.missed


def readable(seen: Seen[Any], default: Any) -> Any:
    """What was read, or `default` where nothing is stored.

    Raises `StoreError` where that could not be found out, `LeftAloneError` where a later version stored it.
    """
    if seen.state is State.NEWER:
        raise LeftAloneError(
            "a later version of gaesignals has stored these dead letters, and it alone can show and change them"
        )
    if not seen.is_writable:
        raise StoreError(f"the dead letters cannot be read ({seen.state.value}); try again")
    return seen.value or default
