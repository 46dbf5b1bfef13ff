"""Text for a terminal."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gaesignals.cli.text import cut, printable, table


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("order_paid", "order_paid"),
        ("grün 注文 🎉", "grün 注文 🎉"),
        ("\x1b]0;title\x07", r"\x1b]0;title\x07"),
        ("a\r\nb\tc", r"a\r\nb\tc"),
        ("\x9b31m", r"\x9b31m"),
        ("exe\u202etxt", r"exe\u202etxt"),
        ("\u2028", r"\u2028"),
        ("\ud800", r"\ud800"),
    ],
)
def test_what_is_no_visible_character_is_escaped(text: str, shown: str) -> None:
    assert printable(text) == shown


@given(st.text())
def test_nothing_that_acts_is_left_of_any_text(text: str) -> None:
    assert printable(text).isprintable()


def test_numbers_are_set_to_the_right_and_texts_to_the_left() -> None:
    lines = table([("a", "1", "x"), ("long", "1,234", "-")], headings=("NAME", "N", "REST"))
    assert lines == [
        "NAME      N  REST",
        "a         1  x",
        "long  1,234  -",
    ]


def test_columns_stand_one_below_the_other_whatever_characters_take() -> None:
    lines = table([("注文", "x"), ("e\u0301", "x"), ("abc", "x")], headings=("NAME", "Y"))
    assert lines == ["NAME  Y", "注文  x", "e\u0301     x", "abc   x"]


def test_the_widest_columns_are_cut_until_a_table_fits() -> None:
    rows = [("short", "n" * 50, "e" * 20)]
    lines = table(rows, headings=("A", "NAME", "ERROR"), width=40)
    assert max(map(len, lines)) == 40
    assert lines[1].split() == ["short", "n" * 14 + "…", "e" * 15 + "…"]


def test_a_table_is_not_cut_where_no_width_is_given() -> None:
    assert table([("n" * 500,)], headings=("NAME",))[1] == "n" * 500


def test_columns_keep_enough_to_be_told_apart_on_the_narrowest_terminal() -> None:
    assert table([("n" * 50, "e" * 50)], headings=("NAME", "ERROR"), width=5)[1] == f"{'n' * 7}…  {'e' * 7}…"


def test_a_wide_character_that_does_not_fit_is_left_out() -> None:
    assert cut("注文注文", 6) == "注文…"
    assert cut("注文", 4) == "注文"


@given(st.lists(st.tuples(st.text(), st.text(), st.integers().map(str))), st.integers(40, 200))
def test_any_table_fits_and_is_harmless(rows: list[tuple[str, str, str]], width: int) -> None:
    lines = table(rows, headings=("NAME", "ERROR", "N"), width=width)
    assert len(lines) == len(rows) + 1
    assert all(line.isprintable() and len(line) <= width for line in lines)


def test_a_cell_of_megabytes_is_cut_as_any_other() -> None:
    (_, row) = table([["x" * 10**8, "7"]], headings=["NAME", "COUNT"], width=40)
    assert row == "x" * 32 + "…      7"
