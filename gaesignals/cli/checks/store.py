"""The store of each service: the same for all, within reach, and one that evicts nothing."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from urllib.parse import urlsplit

from gaesignals.appyaml.problem import Problem
from gaesignals.appyaml.project import Project
from gaesignals.appyaml.service import Service
from gaesignals.cli.finding import sends
from gaesignals.errors import InvalidOptionError
from gaesignals.stores.opening import STORE_VARIABLE, is_memcache, open_server

# Most servers can only be asked from their own network, and nobody waits long for that.
_ASK_SECONDS = 1.0
_CONNECTOR = "vpc_access_connector: {name: projects/PROJECT/locations/REGION/connectors/NAME}"


def check_store(project: Project) -> Iterator[Problem]:
    """What keeps senders and the worker from meeting, or lets what waits disappear."""
    senders = [service for service in project.others if sends(service)]
    errors = {service.store: _error(service.store) for service in (*project.workers, *senders)}
    workers = [worker for worker in project.workers if not errors[worker.store]]  # the others' settings say so
    for service in senders:
        if errors[service.store]:
            yield Problem(service.file, "store", f"{STORE_VARIABLE}='...'", errors[service.store])
    senders = [service for service in senders if not errors[service.store]]
    yield from _check_same(workers, senders)
    on_servers = [service for service in (*workers, *senders) if not is_memcache(service.store)]
    yield from _check_reach(on_servers)
    yield from _check_eviction(on_servers)


def _check_same(workers: Sequence[Service], senders: Sequence[Service]) -> Iterator[Problem]:
    stores = {worker.store for worker in workers}
    for service in senders:
        if stores and service.store not in stores:
            what = f"it sends to {_named(service.store)}, and the worker looks in {', '.join(map(_named, stores))}"
            yield Problem(service.file, "store", what, f"give {STORE_VARIABLE} the value that the worker has")


def _check_reach(services: Sequence[Service]) -> Iterator[Problem]:
    for service in services:
        if not (service.is_flexible or service.has_connector):
            what = f"without a connector it cannot reach {_named(service.store)} in its network"
            yield Problem(service.file, "vpc-connector", what, f"add `{_CONNECTOR}`")


def _check_eviction(services: Sequence[Service]) -> Iterator[Problem]:
    """What the servers say that answer from here."""
    for service in {service.store: service for service in reversed(services)}.values():
        if advice := _advice(service.store):
            what, _, remedy = advice.partition("; ")
            yield Problem(service.file, "eviction", f"{_named(service.store)}: {what}", remedy)


def _error(name: str) -> str:
    """What makes a store unusable."""
    try:
        if not is_memcache(name):
            open_server(name).close()
    except InvalidOptionError as error:
        return str(error)
    return ""


def _advice(name: str) -> str:
    with contextlib.closing(open_server(name, deadline_seconds=_ASK_SECONDS)) as store:
        info = store.server_info()
    return info.advice if info else ""


def _named(name: str) -> str:
    """A store without its password."""
    return "memcache" if is_memcache(name) else f"the server {urlsplit(name).hostname}"
