"""Whole numbers as people write them."""

from __future__ import annotations

import pytest

from gaesignals.digits import whole_number


@pytest.mark.parametrize(
    ("text", "number"), [("0", 0), ("7", 7), ("007", 7), ("1000", 1000), ("0" * 5000 + "1000", 1000), ("0" * 5000, 0)]
)
def test_digits_stand_for_a_number(text: str, number: int) -> None:
    assert whole_number(text, most=1000) == number


@pytest.mark.parametrize(
    "text", ["", " 7", "-1", "+1", "1_0", "1.0", "x", "²", "٣", "1001", "9" * 5000, "1" + "0" * 5000]
)
def test_nothing_else_is_one(text: str) -> None:
    assert whole_number(text, most=1000) is None
