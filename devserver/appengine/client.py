"""Leads this process's App Engine SDK to an API server, for tests and scripts.

A service gets there by its environment alone.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping

from google.appengine.api import apiproxy_stub_map
from google.appengine.runtime.default_api_stub import DefaultApiStub

from ..processes.ports import LOOPBACK


@contextlib.contextmanager
def connected(port: int) -> Iterator[None]:
    """Send the SDK's calls to 127.0.0.1:`port`, and give this thread the ticket that a request has.

    Other threads that make calls enter `ticket` themselves. Everything is put back on leaving.
    """
    before = apiproxy_stub_map.apiproxy
    stub = DefaultApiStub()
    apiproxy_stub_map.apiproxy = apiproxy_stub_map.APIProxyStubMap(stub)
    environ = {"API_HOST": LOOPBACK, "API_PORT": str(port), "HTTP_X_APPENGINE_API_TICKET": "local"}
    try:
        with _environment(environ), ticket():
            yield
    finally:
        apiproxy_stub_map.apiproxy = before
        stub.thread_pool.shutdown()
        stub.http.clear()


@contextlib.contextmanager
def ticket() -> Iterator[None]:
    """Let this thread make calls."""
    before = DefaultApiStub.ShouldUseRequestSecurityTicketForThread()
    DefaultApiStub.SetUseRequestSecurityTicketForThread(True)
    try:
        yield
    finally:
        DefaultApiStub.SetUseRequestSecurityTicketForThread(before)


@contextlib.contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
