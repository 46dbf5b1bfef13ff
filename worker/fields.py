"""What requests carry, read strictly: anything unexpected is an error that says what was expected."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NoReturn

from flask import Request
from werkzeug.exceptions import BadRequest, RequestEntityTooLarge, UnsupportedMediaType

from gaesignals.errors import InvalidNameError, InvalidOptionError
from gaesignals.template import check_name
from gaesignals.way import Way

_FORM_TYPES = ("application/x-www-form-urlencoded", "multipart/form-data")
_WORDS = {"true": True, "false": False}
_FLAGS = {"1": True, "0": False, **_WORDS}


def json_body(request: Request) -> Any:
    """The JSON value that is the body. Raises `BadRequest` or `UnsupportedMediaType`."""
    _refuse_cut_body(request)
    if not request.is_json:
        raise UnsupportedMediaType("send JSON, with Content-Type: application/json")
    try:
        return json.loads(
            request.get_data(), parse_constant=_refuse_constant, object_pairs_hook=_refuse_repeated_fields
        )
    except (ValueError, RecursionError) as error:
        # The error's own text has a position at most; the body itself is never repeated.
        position = f" (line {error.lineno}, column {error.colno})" if isinstance(error, json.JSONDecodeError) else ""
        raise BadRequest(f"the body is not JSON{position}") from error


def json_fields(request: Request, *, allowed: Collection[str]) -> dict[str, Any]:
    """The fields of the JSON object that is the body. Raises `BadRequest` or `UnsupportedMediaType`."""
    return checked_fields(json_body(request), allowed=allowed)


def checked_fields(value: object, *, allowed: Collection[str], what: str = "the body") -> dict[str, Any]:
    """`value`, which an error calls `what`, as a JSON object with no fields but those allowed."""
    if not isinstance(value, dict):
        raise BadRequest(f"{what} has to be a JSON object, not {_kind(value)}")
    _check_fields(value, allowed)
    return value


def any_fields(request: Request, *, allowed: Mapping[str, bool]) -> dict[str, Any]:
    """Fields from a JSON body, or from a form and the query string; `allowed` says which of them may be repeated.

    Those of a form that may be repeated come as lists, as they do in JSON; the others as one str.
    """
    _refuse_cut_body(request)
    values = request.args.to_dict(flat=False)
    if request.mimetype in _FORM_TYPES:
        is_empty = not request.get_data()
        for name, more in request.form.to_dict(flat=False).items():
            values.setdefault(name, []).extend(more)
        if request.files:
            raise BadRequest("files are not expected")
        if not request.form and not is_empty:
            # Werkzeug takes a form that it cannot read for an empty one, which asks for more than its sender meant.
            raise BadRequest("the body is a form without a field that can be read")
    _check_fields(values, allowed)
    for name, given in values.items():
        if len(given) > 1 and not allowed[name]:
            raise BadRequest(f"{name} is given more than once")
    fields: dict[str, Any] = {name: given if allowed[name] else given[0] for name, given in values.items()}
    if request.mimetype not in _FORM_TYPES and request.get_data():
        for name, value in json_fields(request, allowed=allowed).items():
            if name in fields:
                raise BadRequest(f"{name} is given in the URL and in the body")
            fields[name] = value
    return fields


def _refuse_cut_body(request: Request) -> None:
    """Of a body that does not say its length, Werkzeug reads what is allowed and drops the rest without a word."""
    limit = request.max_content_length
    if request.content_length is None and limit is not None and len(request.get_data()) >= limit:
        raise RequestEntityTooLarge


def checked_names(value: object, *, at_most: int) -> tuple[str, ...]:
    """Signal names from a field, each once."""
    names = checked_strings("names", value, at_most=at_most)
    for name in names:
        checked_name(name)
    return names


def checked_name(value: object) -> str:
    try:
        return check_name(value)
    except InvalidNameError as error:
        raise BadRequest(str(error)) from error


def checked_strings(field: str, value: object, *, at_most: int) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise BadRequest(f"{field} has to be a list of strings, not {_kind(value)}")
    if not value:
        raise BadRequest(f"{field} is empty")
    if len(value) > at_most:
        raise BadRequest(f"{field} has {len(value)} entries; send at most {at_most} at a time")
    for each in value:
        if not isinstance(each, str):
            raise BadRequest(f"{field} has to be a list of strings; it has {_kind(each)} in it")
    return tuple(dict.fromkeys(value))


def checked_flag(field: str, value: object) -> bool:
    """A JSON bool, or 1 or 0, or any of these as text from a form."""
    if isinstance(value, int) and value in (0, 1):
        return bool(value)
    if isinstance(value, str) and value in _FLAGS:
        return _FLAGS[value]
    raise BadRequest(f"{field} has to be true or false, or 1 or 0")


def checked_count(field: str, value: object, *, at_most: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= at_most:
        raise BadRequest(f"{field} has to be a number from 0 to {at_most}")
    return value


def checked_number(field: str, value: object, *, least: int, most: int) -> int:
    """A whole number from JSON, or as text from a form or a URL."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 10:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise BadRequest(f"{field} has to be a whole number from {least} to {most}")
    return value


def checked_seconds(field: str, value: object) -> float | None:
    """A number from JSON, or as text from a form, where no text is none as well."""
    if value is None or value == "":
        return None
    try:
        seconds = float(value) if isinstance(value, (int, float, str)) and not isinstance(value, bool) else math.nan
    except (ValueError, OverflowError):
        seconds = math.nan
    if not math.isfinite(seconds):
        raise BadRequest(f"{field} has to be a number of seconds")
    return seconds


def checked_way(fields: Mapping[str, Any]) -> Way:
    """How a message travels, by `wake`, `durable` and `latest`: as a `Signal` takes them, or the same as text."""
    wake = fields.get("wake", False)
    if isinstance(wake, str):
        wake = _WORDS[wake] if wake in _WORDS else checked_seconds("wake", wake)
    try:
        flags = {name: checked_flag(name, fields.get(name, False)) for name in ("durable", "latest")}
        return Way.of(wake=wake, **flags)
    except InvalidOptionError as error:
        raise BadRequest(str(error)) from error


def json_value(request: Request, field: str, given: Mapping[str, Any]) -> Any:
    """Any JSON value: as it is in a JSON body, as JSON text in a form or a URL, where no text is null as well."""
    if field not in given:
        return None
    value = given[field]
    if request.is_json and field not in request.args:
        return value
    try:
        return json.loads(value, parse_constant=_refuse_constant) if value.strip() else None
    except (ValueError, RecursionError) as error:
        raise BadRequest(f'{field} is not JSON; a text has to be in quotes: "like this"') from error


def _check_fields(given: Collection[str], allowed: Collection[str]) -> None:
    unknown = sorted(set(given) - set(allowed))
    if unknown:
        known = ", ".join(allowed)
        raise BadRequest(f"unknown field {', '.join(map(ascii, unknown[:3]))[:100]}; there is {known}")


def _refuse_constant(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


def _refuse_repeated_fields(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise BadRequest("the body has a field twice")
    return fields


def _kind(value: object) -> str:
    names: Sequence[tuple[type, str]] = [
        (dict, "an object"),
        (list, "a list"),
        (str, "a string"),
        (bool, "true or false"),
        (int, "a number"),
        (float, "a number"),
    ]
    return next((name for kind, name in names if isinstance(value, kind)), "null")
