"""What others wrote can be seen on a page, and is sent back as it is."""

from __future__ import annotations

import pytest
from markupsafe import Markup

from worker.visible import exact, visible


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\u202egnp.exe", r"\u202egnp.exe"),
        ("zero\u200bwidth", r"zero\u200bwidth"),
        ("a\x1b[31m", r"a\x1b[31m"),
        ("\ud800", r"\ud800"),
        ("two\n\tlines", "two\n\tlines"),
        ("طلب <b>", "طلب <b>"),
        (7, "7"),
    ],
)
def test_a_text_is_written_so_that_all_of_it_is_seen(text: object, shown: str) -> None:
    assert visible(text) == shown


def test_markup_stays_as_it_is() -> None:
    assert visible(Markup("<b>\u202e</b>")) == "<b>\u202e</b>"


def test_what_a_form_sends_back_is_escaped_for_html_alone() -> None:
    assert visible(exact('\u202e"')) == "\u202e&#34;"
