"""The mailbox that a process has when nobody makes one."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from google.appengine.api import memcache
from google.appengine.api.namespace_manager import namespace_manager
from google.appengine.ext import testbed

from gaesignals import InvalidOptionError, Signal, current_message, deliver
from gaesignals.format.keys import page_key
from gaesignals.mailbox import current as module
from gaesignals.mailbox.box import Mailbox
from gaesignals.mailbox.current import MEMCACHE_SECONDS_VARIABLE, NAMESPACE_VARIABLE, current_mailbox, use_mailbox
from gaesignals.testing import MemoryStore


@pytest.fixture(autouse=True)
def _fresh_process(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(module, "_default", None)
    bed = testbed.Testbed()
    bed.activate()
    bed.init_memcache_stub()
    yield
    bed.deactivate()


@pytest.mark.parametrize("namespace", ["", "signals"])
def test_signals_wait_in_one_namespace_wherever_they_are_sent_and_run_in_their_senders(
    namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(NAMESPACE_VARIABLE, namespace)
    for tenant in ("one", "two"):
        namespace_manager.set_namespace(tenant)
        Signal("a").send()
    namespace_manager.set_namespace("")
    assert memcache.get(page_key("a").decode(), namespace=namespace)
    seen = []
    deliver([("a", lambda data: seen.append((namespace_manager.get_namespace(), current_message().namespace)))])
    assert sorted(seen) == [("one", "one"), ("two", "two")]
    assert namespace_manager.get_namespace() == ""


def test_a_process_keeps_its_mailbox_until_it_is_told_to_use_another() -> None:
    mine = current_mailbox()
    assert current_mailbox() is mine
    with use_mailbox(Mailbox(MemoryStore())) as other:
        assert current_mailbox() is other
    assert current_mailbox() is mine


def test_a_namespace_that_cannot_be_is_refused_by_the_name_of_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(NAMESPACE_VARIABLE, "not this one!")
    with pytest.raises(InvalidOptionError, match=f"{NAMESPACE_VARIABLE}.*'not this one!'"):
        Signal("a").send()


@pytest.mark.parametrize(("value", "seconds"), [(None, 5.0), ("", 5.0), (" 0.5 ", 0.5)])
def test_a_call_to_memcache_has_the_deadline_that_the_environment_names(
    value: str | None, seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it is when the mailbox is first asked for: the SDK replaces os.environ after the import."""
    monkeypatch.setattr(os, "environ", {} if value is None else {MEMCACHE_SECONDS_VARIABLE: value})
    assert vars(current_mailbox().store)["deadline_seconds"] == seconds


@pytest.mark.parametrize("value", ["soon", "0", "-1", "nan", "61"])
def test_a_deadline_that_cannot_be_is_refused_by_the_name_of_its_variable(
    value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(MEMCACHE_SECONDS_VARIABLE, value)
    with pytest.raises(InvalidOptionError, match=f"{MEMCACHE_SECONDS_VARIABLE}.*{value}"):
        Signal("a").send()
