"""What the worker remembers, as lines and tables: the past, the receivers, the instances."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from .terminal import Terminal
from .wording import NOT_KNOWN, age, count_of, counts_line, number, parse_time, seconds_of

WINDOWS = ("hour", "day", "fortnight")
_COUNTS = ("sent", "delivered", "failed", "retried", "dead", "lost", "expired", "overtaken")
# Columns of a table of the past: the points of a window would be a hundred lines.
_ROWS = 12


def say_summary(terminal: Terminal, status: Mapping[str, Any]) -> None:
    """One line of what was done in the window, and how many instances there are."""
    history = status.get("history")
    if not history:
        return  # an older worker
    sums = {name: _sum(history["points"], name) for name in _COUNTS}
    others = ("failed", "retried", "dead", "lost", "expired", "overtaken")
    is_known = any(count is not None for count in sums.values())
    done = counts_line(sums, always="delivered", others=others) if is_known else NOT_KNOWN
    told = status.get("instances", [])
    instances = [each for each in told if not (each["stopped_at"] or each.get("silent"))]
    at_work = sum(bool(each["at_work"]) for each in instances)
    terminal.say(f"last {history['window']}: {done}; {count_of(len(instances), 'instance')}, {at_work} at work")


def say_points(terminal: Terminal, status: Mapping[str, Any]) -> None:
    """A table of the window, in a dozen rows; what nobody counted is not known."""
    history = status.get("history")
    if not history:
        return
    points = history["points"]
    size = -(-len(points) // _ROWS)
    rows = [_row(points[start : start + size]) for start in range(0, len(points), size)]
    terminal.say()
    headings = ["FROM (UTC)", "DELIVERED", "FAILED", "DEAD", "LOST", "WAITED", "WAITING"]
    terminal.say_table(rows, headings=headings)
    terminal.say("WAITED: 95 of a hundred messages no longer, about; WAITING: the most that was seen")


def say_receivers(terminal: Terminal, status: Mapping[str, Any]) -> None:
    """What each receiver did in the last day."""
    now = parse_time(status.get("looked_at"))
    terminal.say()
    rows = [
        [
            each["id"],
            *(number(each.get(name)) for name in ("delivered", "failed", "retried", "dead")),
            seconds_of(each.get("median_seconds")),
            seconds_of(each.get("p95_seconds")),
            f"{age(each['last_error_at'], now)} ago: {each['last_error']}" if each.get("last_error") else "-",
        ]
        for each in status["receivers"]
    ]
    headings = ["RECEIVER (LAST DAY)", "DELIVERED", "FAILED", "RETRIED", "DEAD", "MEDIAN", "P95", "LAST ERROR"]
    terminal.say_table(rows, headings=headings)


def say_instances(terminal: Terminal, status: Mapping[str, Any]) -> None:
    """Which processes were heard of within the hour, and what they are at."""
    now = parse_time(status.get("looked_at"))
    terminal.say()
    rows = [
        [
            each["id"] or f"process {each['pid']}",
            each["version"] or "-",
            age(each["started_at"], now),
            f"{age(each['heard_at'], now)} ago",
            "stopped" if each["stopped_at"] else ", ".join(_work(work, now) for work in each["at_work"]) or "-",
        ]
        for each in status.get("instances", ())
    ]
    terminal.say_table(rows, headings=["INSTANCE", "VERSION", "UP", "HEARD OF", "AT WORK ON"])


def _row(points: Sequence[Mapping[str, Any]]) -> list[str]:
    at = parse_time(points[0]["at"])
    sums = [number(_sum(points, name)) for name in ("delivered", "failed", "dead", "lost")]
    waited = max(_known(points, "wait_p95_seconds"), default=None)
    waiting = max(_known(points, "waiting"), default=None)
    return [
        f"{at:%m-%d %H:%M}" if at else "-",
        *sums,
        seconds_of(waited),
        number(None if waiting is None else round(waiting)),
    ]


def _sum(points: Iterable[Mapping[str, Any]], name: str) -> int | None:
    known = list(_known(points, name))
    return sum(known) if known else None


def _known(points: Iterable[Mapping[str, Any]], name: str) -> Iterator[Any]:
    return (point[name] for point in points if point[name] is not None)


def _work(work: Mapping[str, Any], now: datetime | None) -> str:
    more = f" and {count_of(work['names'] - 1, 'more name')}" if work["names"] > 1 else ""
    return f"{work['name']}{more}: {work['done']:,} of {work['claimed']:,} in {age(work['since'], now)}"
