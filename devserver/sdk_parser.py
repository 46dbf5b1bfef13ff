"""Reads the files of App Engine with the SDK's own parsers, and says in one line what is wrong with one."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import yaml
from google.appengine.api import appinfo

from .errors import ConfigError


def parse_service(text: str, *, file: str = "app.yaml") -> Any:
    """Read an app.yaml; ConfigError in one line that begins with `file` if the SDK refuses it."""
    try:
        return appinfo.LoadSingleAppInfo(text)
    except Exception as error:  # the parsers' errors have no root of their own
        raise ConfigError(f"{file}: {_one_line(error)}") from error


def parse(text: str, parser: Callable[[str], Any], *, section: str) -> Any:
    """Return what `parser` makes of the `text` of a file named after its only `section`.

    ConfigError, which begins with the number of the offending line if there is one.
    """
    try:
        _check_shape(text, section)
        return parser(text)
    except Exception as error:  # the parsers' errors have no root of their own
        raise ConfigError(f"{section}.yaml: {_one_line(error)}") from error


def _check_shape(text: str, section: str) -> None:
    """Refuse what the parsers take for an empty file, or do not explain."""
    try:
        loaded = yaml.safe_load(text)
    except yaml.YAMLError:
        return  # the parser says so itself
    if loaded is not None and not isinstance(loaded, dict):
        raise ValueError(f"it has to be a mapping that begins with `{section}:`")
    if loaded is not None and isinstance(loaded.get(section), dict):
        raise ValueError(f"`{section}:` has to be a list, each entry with a dash in front")


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    line = re.search(r"\bline (\d+)", text)
    text = re.split(r' in "<unicode string>", line| \(line: ', text)[0]
    return f"line {line[1]}: {text}" if line else text
