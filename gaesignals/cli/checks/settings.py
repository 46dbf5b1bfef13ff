"""The worker's settings and receivers: read by the worker's own code, in a process of its own.

The worker is not imported. The package that a wheel ships, or that lies beside the library in a source tree, is run.
"""

from __future__ import annotations

import contextlib
import difflib
import importlib.util
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import gaesignals
from gaesignals.appyaml.jobs import CRON
from gaesignals.appyaml.preflight import Preflight
from gaesignals.appyaml.problem import Problem
from gaesignals.appyaml.project import Project
from gaesignals.appyaml.queues import QUEUE
from gaesignals.appyaml.service import RECEIVERS_VARIABLE, Service
from gaesignals.cli.checks.cron import cron_names
from gaesignals.cli.errors import CommandError
from gaesignals.cli.regions import advice_on

IMPORT_SECONDS = 60.0
# What App Engine gives a request with automatic scaling.
_AUTOMATIC_SECONDS = 600.0
# All that the worker reads. Senders read some of them: the namespace, the store and what concerns it.
VARIABLES = (
    RECEIVERS_VARIABLE,
    "SIGNALS_ADMINS",
    "SIGNALS_CRON_SECONDS",
    "SIGNALS_IAP_AUDIENCE",
    "SIGNALS_LATER_QUEUE",
    "SIGNALS_LEASE_SECONDS",
    "SIGNALS_LOCATION",
    "SIGNALS_MEMCACHE_SECONDS",
    "SIGNALS_NAMESPACE",
    "SIGNALS_OIDC_AUDIENCE",
    "SIGNALS_OIDC_CALLERS",
    "SIGNALS_OIDC_SENDERS",
    "SIGNALS_QUEUE",
    "SIGNALS_REDISPATCH_SECONDS",
    "SIGNALS_SAFETY_QUEUE",
    "SIGNALS_SAFETY_SECONDS",
    "SIGNALS_SERVICE",
    "SIGNALS_STORE",
    "SIGNALS_TASKS",
)
# `VARIABLE='value': what to do` or `VARIABLE is not set: what to do`.
_LINE = re.compile(r"(\w+(?:=(?:'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\")| is not set)): (.*)", re.DOTALL)
# Enough of an environment for receivers to be looked at where no service has any.
_NO_SERVICE = {"SIGNALS_LOCATION": "us-central1"}


@dataclass(frozen=True, slots=True)
class Imported:
    """What the worker's code says: the lines about settings, the ids of the receivers that it found, and their leases.

    `lease_seconds` and `queues` have those that declare some, by id. `unmatched` are those of the names asked about
    that no receiver matches.
    """

    problems: tuple[str, ...]
    receivers: tuple[str, ...] = ()
    lease_seconds: Mapping[str, float] = field(default_factory=dict)
    queues: Mapping[str, str] = field(default_factory=dict)
    unmatched: tuple[str, ...] = ()


def check_settings(project: Project, receivers: str | None) -> Iterator[Problem]:
    """What would keep each worker from starting. `receivers`, if given, stand for those in its env_variables."""
    given = {} if receivers is None else {RECEIVERS_VARIABLE: receivers}
    for service in (*project.workers, *project.others):
        yield from _check_spelling(service)
    for service in project.workers:
        names = cron_names(project, service)
        found = preflight(service.directory, {**service.environ, **given}, names=names)
        yield from _problems(service.file, found)
        yield from _check_leases(service, found)
        yield from _check_queues(project, found)
        yield from _check_cron_names(project, found)
        yield from _check_region(service)
    if not project.workers and receivers is not None:
        yield from _problems("--receivers", preflight(project.directories[0], {**_NO_SERVICE, **given}))


def preflight(directory: Path, environ: Mapping[str, str], *, names: Sequence[str] = ()) -> Imported:
    """Have the worker's own code look at `environ`, with the modules in `directory`, and for receivers of `names`."""
    module, package_directory = _worker_package()
    paths = [str(package_directory), os.environ.get("PYTHONPATH", "")]
    # Nothing is written into the directory that is looked at.
    variables = {"PYTHONPATH": os.pathsep.join(path for path in paths if path), "PYTHONDONTWRITEBYTECODE": "1"}
    check = Preflight(
        [sys.executable, "-m", module],
        environ={**os.environ, **variables},
        directory=package_directory,
        asked=json.dumps({"directory": str(directory.resolve()), "environ": dict(environ), "names": list(names)}),
    )
    with contextlib.closing(check):
        try:
            said = check.verdict(within_seconds=IMPORT_SECONDS)
        except subprocess.TimeoutExpired:
            said = f"takes longer than {IMPORT_SECONDS:g} s"
        else:
            said = f"ends the process, with {said}" if isinstance(said, str) else said
    if isinstance(said, str):
        return Imported((f"{RECEIVERS_VARIABLE}={environ.get(RECEIVERS_VARIABLE, '')!r}: importing it {said}",))
    return Imported(
        problems=tuple(said["problems"]),
        receivers=tuple(said["receivers"]),
        lease_seconds=said["lease_seconds"],
        queues=said["queues"],
        unmatched=tuple(said["unmatched"]),
    )


def _problems(file: str, found: Imported) -> Iterator[Problem]:
    for line in found.problems:
        matched = _LINE.fullmatch(line)
        what, remedy = matched.groups() if matched else (line, "correct it")
        what = re.sub(r"=''$", " is empty", what)
        code = "receivers" if line.startswith(RECEIVERS_VARIABLE) else "setting"
        if code == "receivers" and "; " in remedy:
            reason, _, remedy = remedy.rpartition("; ")
            what = f"{what}: {reason}"
        elif code == "receivers" and "not set" not in what:
            what, remedy = f"{what}: {remedy}", "correct it; the module is imported as it will be on App Engine"
        yield Problem(file, code, what, remedy)


def _check_leases(service: Service, found: Imported) -> Iterator[Problem]:
    """Receivers that take longer than a request may: a day with basic and manual scaling is what a lease may be too."""
    if service.info.basic_scaling or service.info.manual_scaling:
        return
    for receiver, seconds in found.lease_seconds.items():
        if seconds > _AUTOMATIC_SECONDS:
            what = f"{receiver} has a lease of {seconds:g} s, and automatic scaling ends a request after 10 minutes"
            remedy = (
                f"add basic_scaling, with an instance_class such as B2, or set lease_seconds={_AUTOMATIC_SECONDS:g}"
            )
            yield Problem(service.file, "lease", what, remedy)


def _check_queues(project: Project, found: Imported) -> Iterator[Problem]:
    """Queues that receivers name, and tasks would not find."""
    queues = project.queues
    for receiver, name in found.queues.items():
        if queues is not None and name not in queues.usable and name not in queues.refused:
            what = f"there is no push queue {name}, which {receiver} names"
            yield Problem(project.name_of(QUEUE), "queue-unknown", what, f"add `- {{name: {name}, rate: 50/s}}`")


def _check_cron_names(project: Project, found: Imported) -> Iterator[Problem]:
    """Signals that cron would send to nobody."""
    for name in found.unmatched:
        what = f"a job sends {name!r}, which no receiver matches"
        yield Problem(project.name_of(CRON), "cron-unmatched", what, "connect a receiver, or correct the url")


def _check_region(service: Service) -> Iterator[Problem]:
    """A location that the worker takes, and Cloud Tasks does not know."""
    location = service.environ.get("SIGNALS_LOCATION", "").strip()
    if location and (remedy := advice_on(location)):
        yield Problem(service.file, "region", f"SIGNALS_LOCATION={location!r} is no region of Cloud Tasks", remedy)


def _check_spelling(service: Service) -> Iterator[Problem]:
    """A variable that is nearly one of ours, which nobody would read."""
    for name in service.environ:
        meant = difflib.get_close_matches(name.upper(), VARIABLES, n=1, cutoff=0.85)
        if meant and name not in VARIABLES:
            yield Problem(service.file, "spelling", f"{name} is no setting", f"write {meant[0]}, if that is meant")


def _worker_package() -> tuple[str, Path]:
    """The module to run, and the directory to run it in: where its package lies."""
    assert gaesignals.__file__ is not None
    directory = Path(gaesignals.__file__).parent.parent
    for package in ("gaesignals_worker", "worker"):
        if (directory / package / "preflight.py").is_file():
            return f"{package}.preflight", directory
    spec = importlib.util.find_spec("gaesignals_worker")
    if spec is None or spec.origin is None:
        raise CommandError("gaesignals_worker is not installed, which a wheel of gaesignals brings; install it again")
    return "gaesignals_worker.preflight", Path(spec.origin).parent.parent
