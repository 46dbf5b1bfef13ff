"""Pictures of the past: what is to be drawn, as shapes in a box that is stretched to whatever room there is.

All text is beside the drawing, so that it is never stretched. A column that nobody knows anything of is drawn as a gap,
and one of zero as a line on the ground.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

from gaesignals.format.counts import Field

from ..past import Point, Series, Window, together

HEIGHT = 100
COLUMN = 8
_GAP = 1
# The least that a number which is not zero is drawn as.
_LEAST = 3
ROWS = 12
NOT_KNOWN = "not known"

_COLUMNS = ((Field.DELIVERED, "Delivered"), (Field.FAILED, "Failed"), (Field.DEAD, "Dead"), (Field.LOST, "Lost"))
_RARE = ((Field.EXPIRED, "Expired"), (Field.REPLACED, "Replaced"))

_STEPS = {Window.HOUR: "a minute", Window.DAY: "in 15 minutes", Window.FORTNIGHT: "in 3 hours"}
_TIMES = {Window.HOUR: "%H:%M", Window.DAY: "%a %H:%M", Window.FORTNIGHT: "%d %b, %H:%M"}
TITLES = {Window.HOUR: "Hour", Window.DAY: "Day", Window.FORTNIGHT: "Fortnight"}

Value = Callable[[Point], float | None]


@dataclass(frozen=True, slots=True)
class Layer:
    """Bars of one tone; `label` says in a legend what they are, where there are others."""

    tone: str
    path: str
    label: str = ""


@dataclass(frozen=True, slots=True)
class Picture:
    """One drawing: `told` sums it up in words, `top` is what the full height stands for."""

    title: str
    told: str
    top: str
    layers: tuple[Layer, ...]
    gaps: str
    ground: str


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the table of the same numbers: when it begins, and the counts of several columns together."""

    at: str
    point: Point


@dataclass(frozen=True, slots=True)
class Gallery:
    """The pictures of a series and what is the same for all: the time they go over, and a table in few rows."""

    window: Window
    pictures: tuple[Picture, ...]
    marks: tuple[str, ...]
    rows: tuple[Row, ...]
    width: int

    @property
    def columns(self) -> tuple[tuple[Field, str], ...]:
        """The counts that the table shows; those that few applications ever have, only where there are any."""
        rare = [column for column in _RARE if any(row.point.count(column[0]) for row in self.rows)]
        return (*_COLUMNS, *rare)

    @property
    def is_empty(self) -> bool:
        return all(row.point.cell is None for row in self.rows)


def gallery(series: Series, *, has_waiting: bool = True, rows: int = ROWS) -> Gallery:
    """The pictures of a series, with a table of the same in so many rows."""
    window, points = series.window, series.points
    pictures = [_delivered(series), _failed(series), _waits(series)] + ([_waiting(series)] if has_waiting else [])
    marks = tuple(_time(points[number], window) for number in (0, len(points) // 2, -1)) if points else ()
    return Gallery(window, tuple(pictures), marks, tuple(table(series, rows)), COLUMN * len(points))


def table(series: Series, rows: int) -> Iterable[Row]:
    """The points, several together where there are more than `rows`; the newest last.

    Those of which nothing is known are one row where they follow each other.
    """
    points = series.points
    size = -(-len(points) // rows) if points else 1
    steps = [together(points[start : start + size]) for start in range(0, len(points), size)]
    for is_known, group in groupby(steps, key=lambda step: step.cell is not None):
        timed = [Row(_time(step, series.window), step) for step in group]
        if is_known or len(timed) == 1:
            yield from timed
        else:
            yield Row(f"{timed[0].at} to {timed[-1].at}", timed[0].point)


def number(value: float | None) -> str:
    """A count for people; what is not known is never a zero."""
    return NOT_KNOWN if value is None else f"{value:,.0f}"


def seconds(value: float | None) -> str:
    """A time for people: `250 ms`, `2.5 s`, `3 min`."""
    if value is None:
        return "–"
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if value >= 2 * length:
            return f"{value / length:,.0f} {unit}"
    return f"{value:.1f} s" if value >= 1 else f"{value * 1000:.0f} ms"


def _delivered(series: Series) -> Picture:
    total = series.total
    told = _told(total, _counter(Field.DELIVERED), "in all")
    values = _values(series, _counter(Field.DELIVERED))
    return _picture("Delivered", told, series, [("done", "", values)], lambda top: _rate(top, series.window))


def _failed(series: Series) -> Picture:
    total = series.total
    gone = _counter(Field.DEAD, Field.LOST)
    told = _told(total, _counter(Field.FAILED), "failed")
    if total and gone(total):
        told += f", {number(gone(total))} dead or lost"
    layers = [
        ("warn", "failed", _values(series, _counter(Field.FAILED))),
        ("bad", "dead or lost", _values(series, gone)),
    ]
    return _picture("Failures", told, series, layers, lambda top: _rate(top, series.window))


def _told(total: Point | None, count: Callable[[Point], int | None], what: str) -> str:
    """A count in words: of a time of which not all is known, it is the least."""
    counted = count(total) if total else None
    if total is None or counted is None:
        return NOT_KNOWN
    return f"{'' if total.is_whole else 'at least '}{number(counted)} {what}"


def _waits(series: Series) -> Picture:
    total = series.total
    median = total.wait_seconds(50) if total else None
    told = "nothing was delivered" if total and total.is_whole else NOT_KNOWN
    if total and median is not None:
        told = f"median {seconds(median)}, 95% within {seconds(total.wait_seconds(95))}"
    layers = [
        ("soft", "95% within", _values(series, lambda point: point.wait_seconds(95))),
        ("done", "median", _values(series, lambda point: point.wait_seconds(50))),
    ]
    return _picture("Queue wait", told, series, layers, seconds)


def _waiting(series: Series) -> Picture:
    known = [point for point in series.points if point.mean(Field.WAITING) is not None]
    both = _values(series, lambda point: _sum(point.mean(Field.WAITING), point.mean(Field.RETRYING)))
    told = NOT_KNOWN
    if known:
        told = f"{number(known[-1].mean(Field.WAITING))} at the last look"
        retrying = known[-1].mean(Field.RETRYING)
        told += f", {number(retrying)} to retry" if retrying and round(retrying) else ""
    layers = [("warn", "to retry", both), ("done", "fresh", _values(series, lambda point: point.mean(Field.WAITING)))]
    return _picture(
        "Waiting", told, series, layers, number, is_known=lambda point: point.mean(Field.WAITING) is not None
    )


def _picture(
    title: str,
    told: str,
    series: Series,
    layers: Sequence[tuple[str, str, Sequence[float | None]]],
    unit: Callable[[float], str],
    *,
    is_known: Callable[[Point], bool] = lambda point: point.cell is not None,
) -> Picture:
    top = max((value for _, _, values in layers for value in values if value), default=0.0)
    drawn = [Layer(tone, _bars(values, top), label) for tone, label, values in layers]
    known = [is_known(point) for point in series.points]
    return Picture(
        title,
        told,
        unit(top) if top else "",
        tuple(layer for layer in drawn if layer.path),
        _stretches([not each for each in known], HEIGHT),
        _stretches(known, 1),
    )


def _bars(values: Sequence[float | None], top: float) -> str:
    """A path of a bar for each value that is not zero."""
    bars = []
    for column, value in enumerate(values):
        if value:
            height = max(_LEAST, round(value / top * HEIGHT, 1))
            bars.append(f"M{column * COLUMN} {HEIGHT}v-{height:g}h{COLUMN - _GAP}V{HEIGHT}z")
    return "".join(bars)


def _stretches(columns: Sequence[bool], height: int) -> str:
    """A path over the columns that are chosen, neighbours together."""
    path, start = [], None
    for column, is_chosen in enumerate([*columns, False]):
        if is_chosen and start is None:
            start = column
        elif not is_chosen and start is not None:
            path.append(f"M{start * COLUMN} {HEIGHT}v-{height}h{(column - start) * COLUMN}V{HEIGHT}z")
            start = None
    return "".join(path)


def _values(series: Series, value: Value) -> list[float | None]:
    return [value(point) for point in series.points]


def _counter(*fields: Field) -> Callable[[Point], int | None]:
    def count(point: Point) -> int | None:
        known = [counted for field in fields if (counted := point.count(field)) is not None]
        return sum(known) if known else None

    return count


def _sum(*numbers: float | None) -> float | None:
    known = [each for each in numbers if each is not None]
    return sum(known) if known else None


def _rate(top: float, window: Window) -> str:
    return f"{number(top)} {_STEPS[window]}"


def _time(point: Point, window: Window) -> str:
    return point.at.strftime(_TIMES[window])
