"""A mailbox in memory with a clock that is moved by hand."""

from __future__ import annotations

import random
from collections.abc import Iterator

import django
import pytest
from django.conf import settings
from django.db import connections

from gaesignals.mailbox.box import Mailbox
from gaesignals.mailbox.current import use_mailbox
from gaesignals.testing import ManualClock, MemoryNamespaces, MemoryStore


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def store(clock: ManualClock) -> MemoryStore:
    return MemoryStore(clock=clock)


@pytest.fixture
def mailbox(store: MemoryStore, clock: ManualClock) -> Iterator[Mailbox]:
    """The current mailbox of the test, so that `Signal.send` and `deliver` use it."""
    box = Mailbox(store, clock=clock, random=random.Random(7), sleep=lambda _: None, namespaces=MemoryNamespaces())
    with use_mailbox(box):
        yield box


@pytest.fixture
def django_settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Django, set up once for all tests of a process."""
    if not settings.configured:
        settings.configure(
            # A file, since connections to a database in memory are never closed.
            DATABASES={
                "default": {
                    "ENGINE": "django.db.backends.sqlite3",
                    "NAME": str(tmp_path_factory.mktemp("django") / "database"),
                }
            },
            INSTALLED_APPS=["django.contrib.sessions", *(["django_tasks"] if django.VERSION < (6,) else [])],
            USE_TZ=True,
        )
        django.setup()
    yield
    connections.close_all()
