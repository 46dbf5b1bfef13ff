"""Reads the files of App Engine with the SDK's own parsers, and says in one line what is wrong with one.

What comes back are the SDK's objects, whose attributes are named as the fields of the files are. The SDK takes a moment
to import, so this module is imported where it is needed.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from google.appengine.api import appinfo, croninfo, dispatchinfo, queueinfo
from ruamel.yaml import YAML  # the SDK brings it along
from ruamel.yaml.error import YAMLError

from .errors import ConfigError

# What App Engine takes and the SDK's parser does not know.
_NEWER = re.compile(r"^app_engine_bundled_services[ \t]*:.*(?:\n(?:[ \t-].*|$))*", re.MULTILINE)


def _blank(found: re.Match[str]) -> str:
    """As many lines as there were: errors are told by their numbers."""
    return "\n" * found[0].count("\n")


def parse_service(text: str, *, file: str = "app.yaml", directory: Path = Path()) -> Any:
    """Read an app.yaml, with the files of `directory` that it includes; ConfigError if the SDK refuses one."""
    info = _parse(_NEWER.sub(_blank, text), appinfo.LoadSingleAppInfo, file=file)
    merged = None
    for include in _included(info.includes, file=file, where=directory, root=directory, seen=set()):
        merged = appinfo.AppInclude.MergeAppIncludes(merged, include)
    return appinfo.AppInclude.MergeAppYamlAppInclude(info, merged)


def _included(names: list[str] | None, *, file: str, where: Path, root: Path, seen: set[Path]) -> Iterator[Any]:
    """Each included file once, those that it includes after it. A path begins at the file, or else at the root."""
    for name in map(str, names or ()):
        found = next((path for path in (where / name, root / name) if path.exists()), None)
        if found is None:
            raise ConfigError(f"{file}: it includes {name}, and there is no such file")
        path = found / "include.yaml" if found.is_dir() else found
        if path.resolve() in seen:
            continue
        seen.add(path.resolve())
        try:
            text = path.read_text("utf-8")
        except (OSError, UnicodeError) as error:
            raise ConfigError(f"{file}: it includes {name}, which cannot be read: {error}") from error
        include = _parse(text, appinfo.LoadAppInclude, file=name)
        yield include
        yield from _included(include.includes, file=name, where=path.parent, root=root, seen=seen)


def parse_cron(text: str, *, file: str = "cron.yaml") -> list[Any]:
    """Read a cron.yaml and return its jobs; ConfigError if the SDK refuses it. The schedules are not looked at."""
    return list(_parse(text, croninfo.LoadSingleCron, file=file, section="cron").cron or ())


def parse_queues(text: str, *, file: str = "queue.yaml") -> list[Any]:
    """Read a queue.yaml and return its queues; ConfigError if the SDK refuses it. A queue may have no rate."""
    return list(_parse(text, queueinfo.LoadSingleQueue, file=file, section="queue").queue or ())


def parse_dispatch(text: str, *, file: str = "dispatch.yaml") -> list[Any]:
    """Read a dispatch.yaml and return its rules; ConfigError if the SDK refuses it."""
    return list(_parse(text, dispatchinfo.LoadSingleDispatch, file=file, section="dispatch").dispatch or ())


def dispatch_pattern(url: str) -> Any:
    """What the `url` of a rule says: `host`, `host_exact`, `path` and `path_exact`."""
    return dispatchinfo.ParsedURL(url)


def rate_per_second(rate: str) -> float:
    """What the `rate` of a queue comes to."""
    return float(queueinfo.ParseRate(rate))


def retry_parameters(parameters: Any) -> Any:
    """Read the `retry_parameters` of a queue, with limits in seconds; ConfigError if they cannot be."""
    try:
        return queueinfo.TranslateRetryParameters(parameters)
    except queueinfo.MalformedQueueConfiguration as error:
        raise ConfigError(_one_line(error)) from error


def _parse(text: str, parser: Callable[[str], Any], *, file: str, section: str | None = None) -> Any:
    """Return what `parser` makes of the `text` of `file`, whose only section is `section` if that is given.

    ConfigError, which begins with the file and the number of the offending line if there is one.
    """
    try:
        with warnings.catch_warnings():
            # A page of advice on how Python code should load numbers such as 1e3.
            warnings.simplefilter("ignore")
            _check_shape(text, section)
            return parser(text)
    except Exception as error:  # the parsers' errors have no root of their own
        raise ConfigError(f"{file}: {_one_line(error)}") from error


def _check_shape(text: str, section: str | None) -> None:
    """Refuse what the parsers take for an empty file, or do not explain."""
    try:
        loaded = YAML(typ="safe", pure=True).load(text)
    except YAMLError:
        return  # the parser says so itself
    if section is None:
        if not isinstance(loaded, dict):
            raise ValueError("it has to be a mapping with a `runtime:`")
        return
    if loaded is not None and not isinstance(loaded, dict):
        raise ValueError(f"it has to be a mapping that begins with `{section}:`")
    if loaded is not None and isinstance(loaded.get(section), dict):
        raise ValueError(f"`{section}:` has to be a list, each entry with a dash in front")


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    line = re.search(r"\bline (\d+)", text)
    text = re.split(r' in "<unicode string>", line| \(line: ', text)[0]
    return f"line {line[1]}: {text}" if line else text
