"""The mailbox in use: the process's, which is made on first use, or another one for a while."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar

from gaesignals.errors import InvalidOptionError
from gaesignals.observing import Observer
from gaesignals.stores.opening import CALL_SECONDS, MEMCACHE, STORE_VARIABLE, open_store
from gaesignals.tasks.queue import Tasks
from gaesignals.tasks.queues import Queues
from gaesignals.tasks.sender import SenderTasks

from .box import Mailbox

NAMESPACE_VARIABLE = "SIGNALS_NAMESPACE"
MEMCACHE_SECONDS_VARIABLE = "SIGNALS_MEMCACHE_SECONDS"
INSTANCE_VARIABLE = "GAE_INSTANCE"

_override: ContextVar[Mailbox | None] = ContextVar("gaesignals_mailbox", default=None)
_default: Mailbox | None = None
_default_lock = threading.Lock()


def current_mailbox() -> Mailbox:
    """Return the mailbox in use: the one `use_mailbox` set here, or the process's.

    The latter is made on first use with the `SIGNALS_STORE`, `SIGNALS_NAMESPACE` and `SIGNALS_MEMCACHE_SECONDS` of
    then, unless `use_mailbox_everywhere` set another.
    """
    global _default
    override = _override.get()
    if override is not None:
        return override
    with _default_lock:
        if _default is None:
            _default = _mailbox_of(os.environ)
        return _default


def _mailbox_of(environ: Mapping[str, str]) -> Mailbox:
    queues = Queues.from_env(environ)
    try:
        return open_mailbox(
            store=environ.get(STORE_VARIABLE, MEMCACHE),
            namespace=environ.get(NAMESPACE_VARIABLE, ""),
            deadline_seconds=_call_seconds(environ),
            tasks=SenderTasks(environ),
            queues=queues,
        )
    except InvalidOptionError as error:
        variables = f"{STORE_VARIABLE}, {NAMESPACE_VARIABLE} and {MEMCACHE_SECONDS_VARIABLE}"
        raise InvalidOptionError(f"the environment variables {variables}: {error}") from None


def _call_seconds(environ: Mapping[str, str]) -> float:
    text = environ.get(MEMCACHE_SECONDS_VARIABLE, "").strip()
    try:
        return float(text) if text else CALL_SECONDS
    except ValueError:
        raise InvalidOptionError(f"{text!r:.80} is no number of seconds") from None


def open_mailbox(
    *,
    store: str = MEMCACHE,
    namespace: str = "",
    deadline_seconds: float = CALL_SECONDS,
    observer: Observer | None = None,
    tasks: Tasks | None = None,
    queues: Queues | None = None,
) -> Mailbox:
    """Make a mailbox in the store that `store`, a value of `SIGNALS_STORE`, names: in that namespace of it, with that
    deadline of each call.

    Its leases name this instance by the end of its id. Messages carry App Engine's namespace wherever they are stored.
    """
    # Imported here so that tests with an in-memory store need no SDK.
    from gaesignals.stores.app_engine import AppEngineNamespaces

    return Mailbox(
        open_store(store, namespace=namespace, deadline_seconds=deadline_seconds),
        namespaces=AppEngineNamespaces(),
        observer=observer,
        holder=short_instance(os.environ.get(INSTANCE_VARIABLE, "")),
        tasks=tasks,
        queues=queues,
    )


def short_instance(instance: str) -> str:
    """The part of an instance's id that leases and the administrator's page name it by.

    That is the end: the beginning is the same for most instances of most applications.
    """
    return instance[-8:]


@contextmanager
def use_mailbox(mailbox: Mailbox) -> Iterator[Mailbox]:
    """Make `mailbox` the current one inside the block, for this thread or task alone."""
    token = _override.set(mailbox)
    try:
        yield mailbox
    finally:
        _override.reset(token)


@contextmanager
def use_mailbox_everywhere(mailbox: Mailbox) -> Iterator[Mailbox]:
    """Make `mailbox` the process's inside the block: in all threads, whenever they were started.

    Where `use_mailbox` has set one it stays, except here in this thread or task.
    """
    global _default
    with _default_lock:
        previous, _default = _default, mailbox
    try:
        with use_mailbox(mailbox):
            yield mailbox
    finally:
        with _default_lock:
            _default = previous
