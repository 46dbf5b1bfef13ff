"""What others wrote, on a page: nothing of it is invisible, or turns round what stands beside it.

A name may hold U+202E, which mirrors all that follows it, or characters that nobody sees. They are escaped wherever a
template writes a text. What a form sends back is `exact`.
"""

from __future__ import annotations

from flask import Flask
from markupsafe import Markup, escape

_LAYOUT = frozenset("\n\t")


def show_text(app: Flask) -> None:
    """Have the templates of `app` write texts as they can be seen."""
    app.jinja_env.finalize = visible
    app.jinja_env.filters["exact"] = exact


def visible(value: object) -> str:
    """`value` as text with `\\u202e` and the like written out; markup as it is."""
    text = value if isinstance(value, str) else str(value)
    if isinstance(text, Markup) or text.isprintable():
        return text
    return "".join(each if each.isprintable() or each in _LAYOUT else _written_out(each) for each in text)


def exact(value: object) -> Markup:
    """`value` as it is: for what a browser sends back."""
    return escape(value)


def _written_out(character: str) -> str:
    return character.encode("unicode_escape").decode()
