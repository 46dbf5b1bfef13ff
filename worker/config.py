"""The worker's settings: environment variables in, one validated value out.

Everything that is wrong is reported at once, each problem with the variable, its value and what to do about it.
"""

from __future__ import annotations

import enum
import importlib
import os
import re
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from types import ModuleType

import gaesignals
from gaesignals.errors import SignalsError
from gaesignals.receivers import Receivers

NAME_OF_RECEIVERS = "SIGNALS_RECEIVERS"
# A message is leased this long, and a dispatched name comes up again after this long: what a killed process held, and
# a task that was lost, are to be made up for within a day.
LEAST_SECONDS, MOST_SECONDS = 1.0, 86_400.0

_IDENTIFIER = r"[^\W\d]\w*"
_RECEIVERS = re.compile(rf"{_IDENTIFIER}(\.{_IDENTIFIER})*:{_IDENTIFIER}")
_NAMESPACE = re.compile(r"[0-9A-Za-z._-]{0,100}")
_QUEUE = re.compile(r"[A-Za-z0-9-]{1,100}")
_LOCATION = re.compile(r"[a-z][a-z0-9-]{0,62}")
_PROJECT = re.compile(r"([a-z0-9.-]+:)?[a-z][a-z0-9-]{4,28}[a-z0-9]")
_SERVICE = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_EMAIL = re.compile(r"[^@\s,]+@[^@\s,]+\.[^@\s,.]+")
_ADDRESS = re.compile(r"[^/\s]+:[0-9]{1,5}")
_IAP_AUDIENCE = re.compile(r"/projects/[0-9]+/(apps/[^/\s]+|global/backendServices/[0-9]+)")
# App Engine's own names of its two oldest regions; Cloud Tasks knows them only with the digit.
_RENAMED_LOCATIONS = {"us-central": "us-central1", "europe-west": "europe-west1"}
_FIND_LOCATION = "`gcloud app describe` prints it as locationId (us-central there is us-central1 here)"


class SettingsError(SignalsError, ValueError):
    """Settings that cannot be used. `problems` has one line for each."""

    def __init__(self, *problems: str) -> None:
        heading = "the worker cannot start, its settings need a correction"
        super().__init__("\n- ".join([f"{heading}:", *problems]) if len(problems) > 1 else f"{heading}: {problems[0]}")
        self.problems = problems


class Environment(enum.Enum):
    """Who stands in front of the worker, and so whose headers can be believed. See `auth`."""

    STANDARD = "standard"
    LOCALDEV = "localdev"
    OTHER = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the environment variables say that README lists under "Add it to your app", parsed.

    A value made directly, as tests do, is not validated; `from_env` is what does that.
    """

    receivers: str = ""
    namespace: str = ""
    queue: str = "signals"
    location: str = ""
    project: str = ""
    service: str = "worker"
    redispatch_seconds: float = 300.0
    lease_seconds: float = 300.0
    admins: frozenset[str] = frozenset()
    iap_audience: str = ""
    oidc_audience: str = ""
    oidc_callers: frozenset[str] = frozenset()
    tasks_emulator_host: str = ""
    environment: Environment = Environment.OTHER
    version: str = ""
    instance: str = ""

    @classmethod
    def from_env(
        cls, environ: Mapping[str, str] = os.environ, *, need_receivers: bool = True, need_queue: bool = False
    ) -> Settings:
        """Read and check all settings.

        `need_receivers` is False where the caller brings its own. `need_queue` asks for the project and the region of
        the queue even off App Engine. Raises `SettingsError`, which lists every problem there is.
        """
        return _Reader(environ).settings(need_receivers=need_receivers, need_queue=need_queue)


class _Reader:
    """Reads variables and gathers what is wrong with them."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._problems: list[str] = []

    def settings(self, *, need_receivers: bool, need_queue: bool) -> Settings:
        environment = self._environment()
        need_queue = need_queue or environment is Environment.STANDARD
        settings = Settings(
            receivers=self._receivers(needed=need_receivers),
            namespace=self._text("SIGNALS_NAMESPACE", "", _NAMESPACE, "use at most 100 of A-Z a-z 0-9 . _ -"),
            queue=self._text("SIGNALS_QUEUE", "signals", _QUEUE, "use the name in queue.yaml: A-Z a-z 0-9 -"),
            location=self._location(needed=need_queue),
            project=self._project(needed=need_queue),
            service=self._text("SIGNALS_SERVICE", "worker", _SERVICE, "use the service's name in app.yaml: a-z 0-9 -"),
            redispatch_seconds=self._seconds("SIGNALS_REDISPATCH_SECONDS"),
            lease_seconds=self._seconds("SIGNALS_LEASE_SECONDS"),
            admins=self._emails("SIGNALS_ADMINS"),
            iap_audience=self._text(
                "SIGNALS_IAP_AUDIENCE", "", _IAP_AUDIENCE, "it looks like /projects/NUMBER/apps/PROJECT_ID"
            ),
            oidc_audience=self._text("SIGNALS_OIDC_AUDIENCE", "", re.compile(r"\S+"), "use one word, such as a URL"),
            oidc_callers=self._emails("SIGNALS_OIDC_CALLERS"),
            tasks_emulator_host=self._emulator_host(environment),
            environment=environment,
            version=self._get("GAE_VERSION"),
            instance=self._get("GAE_INSTANCE"),
        )
        if settings.oidc_callers and not settings.oidc_audience:
            self._problem("SIGNALS_OIDC_AUDIENCE", "it has to be set where SIGNALS_OIDC_CALLERS is")
        if self._problems:
            raise SettingsError(*self._problems)
        return settings

    def _problem(self, variable: str, remedy: str) -> None:
        value = self._environ.get(variable)
        self._problems.append(
            f"{variable} is not set: {remedy}" if value is None else f"{variable}={value!r:.120}: {remedy}"
        )

    def _get(self, variable: str) -> str:
        return self._environ.get(variable, "").strip()

    def _text(self, variable: str, default: str, pattern: re.Pattern[str], remedy: str) -> str:
        value = self._get(variable) or default
        if value and not pattern.fullmatch(value):
            self._problem(variable, remedy)
        return value

    def _needed(self, variable: str, pattern: re.Pattern[str], remedy: str, *, needed: bool) -> str:
        value = self._text(variable, "", pattern, remedy)
        if needed and not value:
            self._problem(variable, remedy)
        return value

    def _environment(self) -> Environment:
        known: dict[str, Environment] = {each.value: each for each in Environment}
        return known.get(self._get("GAE_ENV"), Environment.OTHER)

    def _receivers(self, *, needed: bool) -> str:
        remedy = "name your Receivers as package.module:attribute, such as shop.signals:receivers"
        return self._needed(NAME_OF_RECEIVERS, _RECEIVERS, remedy, needed=needed)

    def _location(self, *, needed: bool) -> str:
        remedy = f"set it to the region of the queue, such as us-central1; {_FIND_LOCATION}"
        value = self._needed("SIGNALS_LOCATION", _LOCATION, remedy, needed=needed)
        if value in _RENAMED_LOCATIONS:
            self._problem("SIGNALS_LOCATION", f"Cloud Tasks calls this region {_RENAMED_LOCATIONS[value]}, use that")
        return value

    def _project(self, *, needed: bool) -> str:
        remedy = "set it to the project id, which App Engine does by itself unless app.yaml overrides it"
        return self._needed("GOOGLE_CLOUD_PROJECT", _PROJECT, remedy, needed=needed)

    def _seconds(self, variable: str) -> float:
        seconds = _number(self._get(variable) or "300")
        if seconds is None or not LEAST_SECONDS <= seconds <= MOST_SECONDS:
            remedy = f"use a number of seconds from {LEAST_SECONDS:g} to {MOST_SECONDS:g}; 300 is the default"
            self._problem(variable, remedy)
            return 300.0
        return seconds

    def _emails(self, variable: str) -> frozenset[str]:
        emails = [email.strip() for email in self._get(variable).split(",") if email.strip()]
        bad = [email for email in emails if not _EMAIL.fullmatch(email)]
        if bad:
            self._problem(variable, f"{', '.join(map(repr, bad))} is no e-mail address; separate addresses by commas")
        return frozenset(email.casefold() for email in emails)

    def _emulator_host(self, environment: Environment) -> str:
        variable = "CLOUD_TASKS_EMULATOR_HOST"
        value = self._text(variable, "", _ADDRESS, "use host:port without a scheme, such as 127.0.0.1:8123")
        if value and environment is Environment.STANDARD:
            self._problem(variable, "remove it: on App Engine it would send every task to an emulator")
        return value


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def read_environment(
    environ: Mapping[str, str] = os.environ, *, receivers: Receivers | None, need_queue: bool
) -> tuple[Settings, Receivers]:
    """Read all settings, and import the receivers that they name unless there are some.

    Raises `SettingsError`, which lists every problem there is with either.
    """
    problems: list[str] = []
    cause: Exception | None = None
    try:
        settings = Settings.from_env(environ, need_receivers=receivers is None, need_queue=need_queue)
    except SettingsError as error:
        problems += error.problems
    path = environ.get(NAME_OF_RECEIVERS, "").strip()
    # What does not look like a path was complained about already.
    if receivers is None and _RECEIVERS.fullmatch(path):
        try:
            receivers = load_receivers(path)
        except SettingsError as error:
            problems += error.problems
            cause = error
    if problems or receivers is None:
        raise SettingsError(*problems) from cause
    return settings, receivers


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
