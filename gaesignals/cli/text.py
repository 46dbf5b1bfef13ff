"""Text for a terminal: nothing in it acts on the terminal, and its columns stand one below the other.

Names and errors are data from elsewhere and may hold anything, terminal escapes included.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

_GAP = "  "
_CUT = "…"
# What a column keeps at least, so that its values can still be told apart.
_LEAST_WIDTH = 8


def printable(text: str) -> str:
    """Return `text` with everything escaped that is no visible character or space, `\\x1b` for one."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def table(
    rows: Sequence[Sequence[str]], *, headings: Sequence[str], width: int | None = None, whole: str = ""
) -> list[str]:
    """Return the lines of a table, cut to `width` columns if that is given.

    Columns in which every value is a number are set to the right. What is cut ends with an ellipsis; the widest columns
    are cut first, and the one under the heading `whole` never: a person copies what is there.
    """
    cells = [[printable(cell) for cell in row] for row in rows]
    is_number = [all(row[column].replace(",", "").isdigit() for row in cells) for column in range(len(headings))]
    lines = [list(headings), *cells]
    natural = [max(_width(line[column]) for line in lines) for column in range(len(headings))]
    kept = list(headings).index(whole) if whole else None
    widths = _fitted(natural, width, kept)
    return [
        _GAP.join(map(_set, line, widths, [number and bool(rows) for number in is_number])).rstrip() for line in lines
    ]


def cut(text: str, width: int) -> str:
    """Return as much of `text` as fits in `width` columns, with an ellipsis at the end if that is not all."""
    if _width(text) <= width:
        return text
    kept = ""
    for each in text:
        if _width(kept + each) > width - 1:
            break
        kept += each
    return kept + _CUT


def _fitted(widths: list[int], total: int | None, kept: int | None) -> list[int]:
    if total is None:
        return widths
    # What is far too wide, whoever sent it, is not cut column by column.
    fitted = [width if column == kept else min(width, max(total, _LEAST_WIDTH)) for column, width in enumerate(widths)]
    excess = sum(fitted) + len(_GAP) * (len(fitted) - 1) - total
    others = [column for column in range(len(fitted)) if column != kept]
    while excess > 0 and others:
        widest = max(others, key=fitted.__getitem__)
        if fitted[widest] <= _LEAST_WIDTH:
            break
        fitted[widest] -= 1
        excess -= 1
    return fitted


def _set(text: str, width: int, is_number: bool) -> str:
    shown = cut(text, width)
    padding = " " * (width - _width(shown))
    return padding + shown if is_number else shown + padding


def _width(text: str) -> int:
    if text.isascii():
        return len(text)
    return sum(map(_columns, text))


def _columns(character: str) -> int:
    if unicodedata.category(character) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
