"""What a send and a delivery cost on the path that production takes: `python -m benchmarks.sdk`.

The SDK posts every call over HTTP; here the local API server answers, in a process of its own. What is measured is this
process: its own time, which is what an instance pays for, and the time that passes, which on App Engine is longer by
what the network and memcache itself take. Beside it stand the same calls without the SDK's pool of threads, and over
one kept connection without the SDK at all: the least that they could cost.
"""

from __future__ import annotations

import http.client
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from google.appengine.api import apiproxy_stub_map
from google.appengine.api.memcache import memcache_service_pb2 as pb
from google.appengine.ext.remote_api import remote_api_bytes_pb2 as remote_api
from google.appengine.runtime.default_api_stub import DefaultApiStub

from devserver.appengine.client import connected
from devserver.appengine.server import RPC_PATH
from devserver.processes.ports import LOOPBACK
from gaesignals import Receivers, Signal, deliver
from gaesignals.mailbox.box import Mailbox
from gaesignals.mailbox.current import open_mailbox, use_mailbox
from gaesignals.testing import MemoryStore

SLICES = 30
COUNT = 64
PAGE_VIEWED = Signal("page_viewed")
DATA = {"path": "/"}


@dataclass
class Cost:
    """The least of all slices, in microseconds for one."""

    own: float = float("inf")
    passed: float = float("inf")

    def take(self, run: Callable[[], None], count: int) -> None:
        own, passed = time.process_time(), time.perf_counter()
        run()
        self.own = min(self.own, (time.process_time() - own) / count * 10**6)
        self.passed = min(self.passed, (time.perf_counter() - passed) / count * 10**6)


def _send() -> None:
    for _ in range(COUNT):
        PAGE_VIEWED.send(DATA)


def _deliver() -> None:
    receivers = Receivers()
    receivers.connect(PAGE_VIEWED, lambda _: None, id="page_viewed")
    while not deliver(receivers).is_idle:
        pass


def _request() -> pb.MemcacheGetRequest:
    """About what a send reads: a page and a slot."""
    return pb.MemcacheGetRequest(key=[b"gs:p:0:page_viewed", b"gs:i:1"], name_space="", for_cas=True)


class _InThread:
    """In place of a pool of threads."""

    def submit(self, function: Callable[..., None], **arguments: Any) -> Future[None]:
        future: Future[None] = Future()
        future.set_result(function(**arguments))
        return future


def _without_pool() -> apiproxy_stub_map.APIProxyStubMap:
    stub = DefaultApiStub()
    stub.thread_pool = _InThread()
    return apiproxy_stub_map.APIProxyStubMap(stub)


def _sdk_calls(stub_map: apiproxy_stub_map.APIProxyStubMap | None = None) -> None:
    for _ in range(COUNT):
        rpc = apiproxy_stub_map.UserRPC("memcache", 5, stubmap=stub_map)
        rpc.make_call("Get", _request(), pb.MemcacheGetResponse())
        rpc.check_success()


def _direct_calls(connection: http.client.HTTPConnection) -> None:
    headers = {"X-Google-RPC-Service-Endpoint": "app-engine-apis", "Content-type": "application/octet-stream"}
    for _ in range(COUNT):
        request = remote_api.Request(
            service_name="memcache", method="Get", request_id="local", request=_request().SerializeToString()
        )
        connection.request("POST", RPC_PATH, request.SerializeToString(), headers)
        answer = remote_api.Response.FromString(connection.getresponse().read())
        pb.MemcacheGetResponse.FromString(answer.response)


def measure(port: int) -> dict[str, Cost]:
    costs = {
        what: Cost()
        for what in (
            "a send",
            "of it the library, in memory",
            f"a delivery of {COUNT}, a message",
            "of it the library, in memory, a message",
            "a call of the SDK",
            "a call of the SDK without its pool of threads",
            "a call over one kept connection",
        )
    }
    sent, sent_in_memory, delivered, delivered_in_memory, sdk, in_thread, direct = costs.values()
    production = open_mailbox()
    without_pool = _without_pool()
    connection = http.client.HTTPConnection(LOOPBACK, port)
    with connected(port):
        for _ in range(SLICES):
            with use_mailbox(production):
                sent.take(_send, COUNT)
                sdk.take(_sdk_calls, COUNT)
                in_thread.take(lambda: _sdk_calls(without_pool), COUNT)
                direct.take(lambda: _direct_calls(connection), COUNT)
                delivered.take(_deliver, COUNT)
            with use_mailbox(Mailbox(MemoryStore())):
                sent_in_memory.take(_send, COUNT)
                delivered_in_memory.take(_deliver, COUNT)
    connection.close()
    return costs


def table() -> str:
    # With port 0 it takes a free one, and says which.
    command = [sys.executable, "-m", "devserver.appengine.server", "--port", "0"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        costs = measure(int(server.stdout.readline().rpartition(":")[2]))
    finally:
        server.terminate()
        server.wait()
    lines = [f"{'microseconds':<52}{'own':>8}{'passed':>8}"]
    lines += [f"{what:<52}{cost.own:>8.0f}{cost.passed:>8.0f}" for what, cost in costs.items()]
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())
