"""The receivers that a setting names: importing them, and saying in a line why that cannot be."""

from __future__ import annotations

import importlib
import os
import traceback
from collections.abc import Mapping
from types import ModuleType

import gaesignals
from gaesignals.receivers import Receivers

from .config import NAME_OF_RECEIVERS, PATH_OF_RECEIVERS, Settings, SettingsError


def read_environment(
    environ: Mapping[str, str] | None = None, *, receivers: Receivers | None, need_queue: bool
) -> tuple[Settings, Receivers]:
    """Read all settings, and import the receivers that they name unless there are some.

    `environ` None is the environment of this process, as it is now.
    Raises `SettingsError`, which lists every problem there is with either.
    """
    environ = os.environ if environ is None else environ
    problems: list[str] = []
    cause: Exception | None = None
    try:
        settings = Settings.from_env(environ, need_receivers=receivers is None, need_queue=need_queue)
    except SettingsError as error:
        problems += error.problems
    path = environ.get(NAME_OF_RECEIVERS, "").strip()
    # What does not look like a path was complained about already.
    if receivers is None and PATH_OF_RECEIVERS.fullmatch(path):
        try:
            receivers = load_receivers(path)
        except SettingsError as error:
            problems += error.problems
            cause = error
    if not problems and receivers is not None:
        problems += queue_problems(settings, receivers)
    if problems or receivers is None:
        raise SettingsError(*problems) from cause
    return settings, receivers


def queue_problems(settings: Settings, receivers: Receivers) -> list[str]:
    """A line for each receiver whose queue is one of those that deliver nothing."""
    kinds = {settings.safety_queue: "SIGNALS_SAFETY_QUEUE", settings.later_queue: "SIGNALS_LATER_QUEUE"}
    return [
        f"receiver {each.id}: queue={each.queue!r} is {kinds[each.queue]}, which delivers nothing; name another one"
        for each in receivers
        if each.queue in kinds
    ]


def load_receivers(path: str) -> Receivers:
    """Import the `Receivers` that `path`, a `package.module:attribute`, names.

    Raises `SettingsError` with one line: the module is missing or fails to import, it has no such attribute, or that is
    something else.
    """
    module_name, _, attribute = path.partition(":")
    setting = f"{NAME_OF_RECEIVERS}={path!r}"
    module = _import(module_name, setting)
    missing = object()
    found = getattr(module, attribute, missing)
    if found is missing:
        others = sorted(name for name, value in vars(module).items() if isinstance(value, Receivers))
        advice = f"it has {', '.join(others)}" if others else "add `receivers = Receivers()` there"
        raise SettingsError(f"{setting}: {module_name} has no {attribute}; {advice}")
    if not isinstance(found, Receivers):
        raise SettingsError(f"{setting}: that is a {type(found).__name__}; name a gaesignals.Receivers")
    return found


def _import(module_name: str, setting: str) -> ModuleType:
    try:
        return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name and f"{module_name}.".startswith(f"{error.name}."):
            remedy = f"there is no module {error.name}; check the spelling and that it is deployed with the worker"
            raise SettingsError(f"{setting}: {remedy}") from error
        raise SettingsError(f"{setting}: {module_name} imports {error.name}, which is not installed") from error
    except Exception as error:
        said = " ".join(str(error).split())
        raise SettingsError(f"{setting}: importing it raised {type(error).__name__}: {said}{_place(error)}") from error


def _place(error: Exception) -> str:
    """Where in the application's code it was raised, or called what raised it; a syntax error says so itself."""
    frames = [] if isinstance(error, SyntaxError) else traceback.extract_tb(error.__traceback__)
    directories = [os.path.join(os.path.dirname(str(module.__file__)), "") for module in (gaesignals, importlib)]
    theirs = [frame for frame in frames if not frame.filename.startswith((*directories, __file__, "<frozen "))]
    return f" ({os.path.basename(theirs[-1].filename)}, line {theirs[-1].lineno})" if theirs else ""
