"""Whole numbers as people write them, in options and files: digits, and no more of them than anybody means."""

from __future__ import annotations


def whole_number(text: str, *, most: int) -> int | None:
    """The number that ASCII digits stand for; None for any other text, and for a number over `most`.

    What has more digits than `most` is not read: Python raises its own error for more than 4,300.
    """
    if not (text.isascii() and text.isdigit()):
        return None
    digits = text.lstrip("0") or "0"
    number = int(digits) if len(digits) <= len(str(most)) else most + 1
    return number if number <= most else None
