"""The worker's settings: environment variables in, one validated value out.

Everything that is wrong is reported at once, each problem with the variable, its value and what to do about it.
"""

from __future__ import annotations

import enum
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass

from gaesignals.errors import InvalidOptionError, SignalsError
from gaesignals.limits import LEASE_SECONDS, LEAST_LEASE_SECONDS, MOST_LEASE_SECONDS
from gaesignals.stores.opening import MEMCACHE, is_memcache, open_store
from gaesignals.tasks.queues import Queues

NAME_OF_RECEIVERS = "SIGNALS_RECEIVERS"
# A dispatched name comes up again after this long: a task that was lost is to be made up for within a day.
LEAST_SECONDS, MOST_SECONDS = 1.0, 86_400.0

_IDENTIFIER = r"[^\W\d]\w*"
PATH_OF_RECEIVERS = re.compile(rf"{_IDENTIFIER}(\.{_IDENTIFIER})*:{_IDENTIFIER}")
_NAMESPACE = re.compile(r"[0-9A-Za-z._-]{0,100}")
_QUEUE = re.compile(r"[A-Za-z0-9-]{1,100}")
_LOCATION = re.compile(r"[a-z][a-z0-9-]{0,62}")
_PROJECT = re.compile(r"([a-z0-9.-]+:)?[a-z][a-z0-9-]{4,28}[a-z0-9]")
_SERVICE = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
# Printable ASCII: of other letters two may look or be folded alike, and let in somebody else.
_EMAIL = re.compile(r"[!-+\--?A-~]+@[A-Za-z0-9.-]+\.[A-Za-z0-9-]+")
_TASKS = re.compile(r"app_engine|cloud_tasks")
_ADDRESS = re.compile(r"[^/\s]+:[0-9]{1,5}")
_IAP_AUDIENCE = re.compile(r"/projects/[0-9]+/(apps/[^/\s]+|global/backendServices/[0-9]+)")
# App Engine's own names of its two oldest regions; Cloud Tasks knows them only with the digit.
_RENAMED_LOCATIONS = {"us-central": "us-central1", "europe-west": "europe-west1"}
_FIND_LOCATION = "`gcloud app describe` prints it as locationId (us-central there is us-central1 here)"


def comparable(email: str) -> str:
    """An e-mail address as addresses are compared: ASCII in lower case. Empty for any other, which is nobody's."""
    return email.lower() if email.isascii() else ""


class SettingsError(SignalsError, ValueError):
    """Settings that cannot be used. `problems` has one line for each."""

    def __init__(self, *problems: str) -> None:
        heading = "the worker cannot start, its settings need a correction"
        super().__init__("\n- ".join([f"{heading}:", *problems]) if len(problems) > 1 else f"{heading}: {problems[0]}")
        self.problems = problems


class Environment(enum.Enum):
    """Who stands in front of the worker, and so whose headers can be believed. See `access.callers`."""

    STANDARD = "standard"
    LOCALDEV = "localdev"
    OTHER = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the environment variables say that docs/deploy.md lists under "Settings", parsed.

    A value made directly, as tests do, is not validated; `from_env` is what does that.
    """

    receivers: str = ""
    namespace: str = ""
    queue: str = "signals"
    location: str = ""
    project: str = ""
    safety_queue: str = "signals-safety"
    later_queue: str = "signals-later"
    service: str = "worker"
    store: str = "memcache"
    tasks: str = ""
    memcache_seconds: float = 5.0
    safety_seconds: float = 600.0
    redispatch_seconds: float = 300.0
    lease_seconds: float = LEASE_SECONDS
    cron_seconds: float = 60.0
    admins: frozenset[str] = frozenset()
    iap_audience: str = ""
    oidc_audience: str = ""
    oidc_callers: frozenset[str] = frozenset()
    oidc_senders: frozenset[str] = frozenset()
    tasks_emulator_host: str = ""
    environment: Environment = Environment.OTHER
    version: str = ""
    instance: str = ""

    @classmethod
    def from_env(
        cls, environ: Mapping[str, str] | None = None, *, need_receivers: bool = True, need_queue: bool = False
    ) -> Settings:
        """Read and check all settings, from the environment as it is now unless another is given.

        `need_receivers` is False where the caller brings its own. `need_queue` asks for the project and the region of
        the queue even off App Engine. Raises `SettingsError`, which lists every problem there is.
        """
        return _Reader(os.environ if environ is None else environ).settings(
            need_receivers=need_receivers, need_queue=need_queue
        )

    @property
    def queues(self) -> Queues:
        """The queues that tasks of signals go to."""
        return Queues(
            deliver=self.queue, safety=self.safety_queue, later=self.later_queue, safety_seconds=self.safety_seconds
        )


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
            queue=self._queue("SIGNALS_QUEUE", "signals"),
            safety_queue=self._queue("SIGNALS_SAFETY_QUEUE", "signals-safety"),
            later_queue=self._queue("SIGNALS_LATER_QUEUE", "signals-later"),
            location=self._location(needed=need_queue),
            project=self._project(needed=need_queue),
            service=self._text("SIGNALS_SERVICE", "worker", _SERVICE, "use the service's name in app.yaml: a-z 0-9 -"),
            store=self._store(),
            tasks=self._text("SIGNALS_TASKS", "", _TASKS, "use app_engine or cloud_tasks"),
            memcache_seconds=self._seconds("SIGNALS_MEMCACHE_SECONDS", 5.0, least=0.1, most=60.0),
            safety_seconds=self._seconds("SIGNALS_SAFETY_SECONDS", 600.0, least=5.0, most=900.0),
            redispatch_seconds=self._seconds("SIGNALS_REDISPATCH_SECONDS", 300.0),
            lease_seconds=self._seconds(
                "SIGNALS_LEASE_SECONDS", LEASE_SECONDS, least=LEAST_LEASE_SECONDS, most=MOST_LEASE_SECONDS
            ),
            cron_seconds=self._seconds("SIGNALS_CRON_SECONDS", 60.0, least=60.0),
            admins=self._emails("SIGNALS_ADMINS"),
            iap_audience=self._text(
                "SIGNALS_IAP_AUDIENCE", "", _IAP_AUDIENCE, "it looks like /projects/NUMBER/apps/PROJECT_ID"
            ),
            oidc_audience=self._text("SIGNALS_OIDC_AUDIENCE", "", re.compile(r"\S+"), "use one word, such as a URL"),
            oidc_callers=self._emails("SIGNALS_OIDC_CALLERS"),
            oidc_senders=self._emails("SIGNALS_OIDC_SENDERS"),
            tasks_emulator_host=self._emulator_host(environment),
            environment=environment,
            version=self._get("GAE_VERSION"),
            instance=self._get("GAE_INSTANCE"),
        )
        if (settings.oidc_callers or settings.oidc_senders) and not settings.oidc_audience:
            listed = "SIGNALS_OIDC_CALLERS" if settings.oidc_callers else "SIGNALS_OIDC_SENDERS"
            self._problem("SIGNALS_OIDC_AUDIENCE", f"it has to be set where {listed} is")
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
        return self._needed(NAME_OF_RECEIVERS, PATH_OF_RECEIVERS, remedy, needed=needed)

    def _location(self, *, needed: bool) -> str:
        remedy = f"set it to the region of the queue, such as us-central1; {_FIND_LOCATION}"
        value = self._needed("SIGNALS_LOCATION", _LOCATION, remedy, needed=needed)
        if value in _RENAMED_LOCATIONS:
            self._problem("SIGNALS_LOCATION", f"Cloud Tasks calls this region {_RENAMED_LOCATIONS[value]}, use that")
        return value

    def _project(self, *, needed: bool) -> str:
        remedy = "set it to the project id, which App Engine does by itself unless app.yaml overrides it"
        return self._needed("GOOGLE_CLOUD_PROJECT", _PROJECT, remedy, needed=needed)

    def _queue(self, variable: str, default: str) -> str:
        return self._text(variable, default, _QUEUE, "use the name in queue.yaml: A-Z a-z 0-9 -")

    def _store(self) -> str:
        value = self._get("SIGNALS_STORE") or MEMCACHE
        if not is_memcache(value):
            try:
                open_store(value)
            except InvalidOptionError as error:
                # The value is not repeated: there may be a password in it.
                self._problems.append(f"SIGNALS_STORE='...': {error}")
        return value

    def _seconds(
        self, variable: str, default: float, *, least: float = LEAST_SECONDS, most: float = MOST_SECONDS
    ) -> float:
        seconds = _number(self._get(variable) or str(default))
        if seconds is None or not least <= seconds <= most:
            remedy = f"use a number of seconds from {least:g} to {most:g}; {default:g} is the default"
            self._problem(variable, remedy)
            return default
        return seconds

    def _emails(self, variable: str) -> frozenset[str]:
        emails = [email.strip() for email in self._get(variable).split(",") if email.strip()]
        bad = [email for email in emails if not _EMAIL.fullmatch(email)]
        if bad:
            named = ", ".join(map(ascii, bad))
            self._problem(variable, f"{named} is no e-mail address in ASCII; separate addresses by commas")
        return frozenset(map(comparable, emails))

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
