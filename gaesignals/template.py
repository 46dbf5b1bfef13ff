"""Names of signals, and the templates of names made at run time."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from .errors import InvalidNameError
from .format.keys import MAX_NAME_BYTES
from .format.names import CONTROL

_BRACED: Final = re.compile(r"\{([^{}]+)\}")


def check_name(name: object) -> str:
    """Return `name` if a signal may have it; raise `InvalidNameError` if not.

    It may be any text of 1 to 200 bytes in UTF-8 without control characters.
    """
    if not isinstance(name, str):
        raise InvalidNameError(name, f"a name is a str, not {type(name).__name__}")
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        raise InvalidNameError(name, "it has a lone surrogate, which UTF-8 cannot express") from None
    if not size:
        raise InvalidNameError(name, "a name has at least one character")
    if size > MAX_NAME_BYTES:
        raise InvalidNameError(name, f"it takes {size} bytes in UTF-8; {MAX_NAME_BYTES} is the most")
    if CONTROL.search(name):
        raise InvalidNameError(name, "it has a control character, such as a line break or a tab")
    return str.__str__(name)


@dataclass(frozen=True, slots=True)
class Template:
    """A name with fields in it: literal texts with one field between each two of them.

    A field stands for one or more characters. Where a name could be read in several ways, the earlier fields are as
    short as can be.
    """

    literals: tuple[str, ...]
    fields: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: object) -> Template:
        """Read `text`, where `{identifier}` is a field and any other brace an ordinary character."""
        name = check_name(text)
        literals: list[str] = []
        fields: list[str] = []
        end = 0
        for braced in _BRACED.finditer(name):
            if not braced[1].isidentifier():
                continue
            if braced[1] in fields:
                raise InvalidNameError(name, f"the field {braced[0]} is in it twice")
            literals.append(name[end : braced.start()])
            fields.append(braced[1])
            end = braced.end()
        literals.append(name[end:])
        return cls(tuple(literals), tuple(fields))

    @classmethod
    def literal(cls, name: object) -> Template:
        """The template that is `name` and nothing else, whatever braces there are in it."""
        return cls((check_name(name),))

    @property
    def is_literal(self) -> bool:
        return not self.fields

    def __str__(self) -> str:
        if self.is_literal:
            return self.literals[0]
        fields = [f"{{{field}}}" for field in self.fields]
        return "".join(text for pair in zip(self.literals, [*fields, ""], strict=True) for text in pair)

    def fill(self, /, **values: str | int) -> str:
        """Return the name with `values` in place of the fields.

        Raises `InvalidNameError` for values that are missing, unknown, empty or neither str nor int, and where the name
        would be read back as other values than these (`"{a}_{b}"` with a="x_y").
        """
        self._check_fields(values)
        texts = [self._text(field, values[field]) for field in self.fields]
        name = check_name("".join(a + b for a, b in zip(self.literals, [*texts, ""], strict=True)))
        captures = self.match(name)
        if captures != dict(zip(self.fields, texts, strict=True)):
            raise InvalidNameError(
                name, f"{str(self)!r} would read it as {captures}; leave its separators out of values"
            )
        return name

    def match(self, name: str) -> dict[str, str] | None:
        """Return what stands for each field in `name`, or None if the template does not match it.

        Takes time in proportion to the length of the name, whatever is in it.
        """
        if not self.fields:
            return {} if name == self.literals[0] else None
        first, *between, last = self.literals
        end = len(name) - len(last)
        if not (name.startswith(first) and name.endswith(last)) or end < len(first) + len(self.fields):
            return None
        captures: dict[str, str] = {}
        start = len(first)
        for field, text in zip(self.fields, between, strict=False):
            found = name.find(text, start + 1, end)
            if found < 0:
                return None
            captures[field] = name[start:found]
            start = found + len(text)
        if start >= end:
            return None
        captures[self.fields[-1]] = name[start:end]
        return captures

    def overlaps(self, other: Template) -> bool:
        """Whether there is a name that both match."""
        if self.is_literal:
            return other.match(self.literals[0]) is not None
        if other.is_literal:
            return other.overlaps(self)
        # What is between the first and the last text never matters: a field can hold the other's texts.
        heads = sorted((self.literals[0], other.literals[0]), key=len)
        tails = sorted((self.literals[-1], other.literals[-1]), key=len)
        return heads[1].startswith(heads[0]) and tails[1].endswith(tails[0])

    def _check_fields(self, values: Iterable[str]) -> None:
        given = set(values)
        if given != set(self.fields):
            wanted = ", ".join(self.fields) or "no fields"
            raise InvalidNameError(
                str(self), f"it is filled in with {wanted}, not with {', '.join(sorted(given)) or 'nothing'}"
            )

    def _text(self, field: str, value: object) -> str:
        if isinstance(value, bool) or not isinstance(value, (str, int)):
            raise InvalidNameError(
                str(self),
                f"{field} is of type {type(value).__name__}; give a str or an int",
            )
        if isinstance(value, int) and value.bit_length() > 8 * MAX_NAME_BYTES:
            raise InvalidNameError(str(self), f"{field} has {value.bit_length()} bits, too many digits for a name")
        text = str.__str__(value) if isinstance(value, str) else int.__repr__(value)
        if not text:
            raise InvalidNameError(str(self), f"{field} is empty; a field has at least one character")
        return text
