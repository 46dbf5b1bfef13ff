"""Counts and times as people read them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

_UNITS = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))


NOT_KNOWN = "not known"


def number(count: int | None) -> str:
    """`2,000`; what is not known is never taken for 0."""
    return NOT_KNOWN if count is None else f"{count:,}"


def listed(names: Sequence[str], count: int, noun: str, *, most: int = 3) -> str:
    """`a, b, c and 2 more`; `5 names` where it is not known which."""
    if not names:
        return count_of(count, noun)
    first = list(names)[:most]
    return ", ".join(first) + (f" and {count - len(first):,} more" if count > len(first) else "")


def count_of(count: int, noun: str) -> str:
    """`1 name`, `2,000 names`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def counts_line(counts: Mapping[str, Any], *, always: str, others: tuple[str, ...]) -> str:
    """`delivered 3, dead 1`: the count that is `always` said, and of the `others` those that are not 0."""
    told = [always, *(name for name in others if counts.get(name))]
    return ", ".join(f"{name.replace('_', ' ')} {number(counts.get(name, 0))}" for name in told)


def parse_time(text: object) -> datetime | None:
    """Read a time of the worker's JSON; None if there is none."""
    try:
        at = datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        return None
    return at if at is not None and at.tzinfo is not None else None


def distance(seconds: float) -> str:
    """How long that is, roughly: `3 min`."""
    size = abs(seconds)
    unit, length = next((each for each in _UNITS if size >= each[1]), _UNITS[-1])
    return f"{int(size // length)} {unit}"


def seconds_of(seconds: float | None) -> str:
    """`250 ms`, `2.5 s`, `3 min`; a dash if there is none."""
    if seconds is None:
        return "-"
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    return f"{seconds:.1f} s" if seconds < 60 else distance(seconds)


def age(text: object, now: datetime | None) -> str:
    """How long before `now` a time of the worker's JSON is; a dash if there is none."""
    at = parse_time(text)
    return "-" if at is None or now is None else distance((now - at).total_seconds())


def clock_time(text: object) -> str:
    """A time of the worker's JSON for people, in UTC; a dash if there is none."""
    at = parse_time(text)
    return "-" if at is None else f"{at:%Y-%m-%d %H:%M:%S}"
