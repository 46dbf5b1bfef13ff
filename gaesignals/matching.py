"""Which receivers a name has: found by what the name is, or begins and ends with, however many patterns there are."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from operator import itemgetter
from typing import Final, TypeAlias

from .receiver import Match, Receiver
from .template import Template

CACHED_NAMES: Final = 10_000

_Numbered: TypeAlias = tuple[int, Receiver]


class Matching:
    """Receivers, in the order in which they were added."""

    def __init__(self) -> None:
        self._all: list[Receiver] = []
        self._by_name: dict[str, list[_Numbered]] = {}
        self._patterns: dict[tuple[str, str], list[_Numbered]] = {}
        self._lengths: list[tuple[int, int]] = []
        self._forget()

    @property
    def all(self) -> tuple[Receiver, ...]:
        return tuple(self._all)

    @property
    def literal_names(self) -> tuple[str, ...]:
        return tuple(self._by_name)

    @property
    def has_patterns(self) -> bool:
        return bool(self._patterns)

    def add(self, receiver: Receiver) -> None:
        numbered = (len(self._all), receiver)
        template = receiver.template
        if template.is_literal:
            self._by_name.setdefault(str(template), []).append(numbered)
        else:
            self._patterns.setdefault((template.literals[0], template.literals[-1]), []).append(numbered)
            self._lengths = list({(len(head), len(tail)): None for head, tail in self._patterns})
        self._all.append(receiver)
        self._forget()

    def candidates(self, template: Template) -> Iterable[Receiver]:
        """The receivers that may match a name that `template` matches."""
        if not template.is_literal:
            return self._all
        return [receiver for _, receiver in self._near(template.literals[0])]

    def _forget(self) -> None:
        self.of = functools.lru_cache(maxsize=CACHED_NAMES)(self._search)
        """The receivers of a name, with what it holds for the fields of their patterns."""

    def _search(self, name: str) -> tuple[Match, ...]:
        found = ((receiver, receiver.template.match(name)) for _, receiver in self._near(name))
        return tuple(Match(receiver, captures) for receiver, captures in found if captures is not None)

    def _near(self, name: str) -> list[_Numbered]:
        """The receivers of this name, and those whose patterns begin and end as it does."""
        near = [*self._by_name.get(name, ())]
        for head, tail in self._lengths:
            near += self._patterns.get((name[:head], name[len(name) - tail :]), ())
        return sorted(near, key=itemgetter(0))
