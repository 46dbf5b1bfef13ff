"""The API server, called as production code calls App Engine: by the SDK's own default stub over HTTP."""

from __future__ import annotations

import http.client
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest
from google.appengine.api import apiproxy_stub_map, capabilities, memcache, users
from google.appengine.api.memcache import memcache_service_pb2 as pb
from google.appengine.ext.remote_api import remote_api_bytes_pb2 as remote_api
from google.appengine.runtime import apiproxy_errors
from google.appengine.runtime.default_api_stub import DefaultApiStub

from devserver.appengine.client import connected, ticket
from devserver.appengine.server import ApiServer
from devserver.appengine.services import AppEngine


@pytest.fixture
def server() -> Iterator[ApiServer]:
    with ApiServer() as server, connected(server.port):
        yield server


def call(method: str, request: object, response: object, service: str = "memcache") -> None:
    apiproxy_stub_map.MakeSyncCall(service, method, request, response)


def post(server: ApiServer, body: bytes, **headers: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port)
    given = {"Content-Type": "application/octet-stream", "X-Google-RPC-Service-Endpoint": "app-engine-apis"}
    given |= {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request("POST", "/rpc_http", body, {name: value for name, value in given.items() if value})
    response = connection.getresponse()
    answer = response.status, response.read()
    connection.close()
    return answer


def rpc_error_code(server: ApiServer, **fields: object) -> int:
    given = {"service_name": "memcache", "method": "FlushAll", "request_id": "ticket", "request": b""} | fields
    status, body = post(server, remote_api.Request(**given).SerializeToString())
    assert status == 200
    return int(remote_api.Response.FromString(body).rpc_error.code)


class TestMemcache:
    def test_keeps_values_between_clients(self, server: ApiServer) -> None:
        assert memcache.set("key", {"a": [1, 2]})
        assert memcache.Client().get("key") == {"a": [1, 2]}

    def test_says_hit_or_miss_for_each_key_in_the_order_asked(self, server: ApiServer) -> None:
        memcache.set("here", b"x")
        response = pb.MemcacheGetResponse()
        call("Get", pb.MemcacheGetRequest(key=[b"gone", b"here", b"away"]), response)
        assert list(response.get_status) == [response.MISS, response.HIT, response.MISS]

    def test_mixes_policies_in_one_call(self, server: ApiServer) -> None:
        client = memcache.Client()
        client.set("old", b"1")
        client.gets("old")
        got = pb.MemcacheGetResponse()
        call("Get", pb.MemcacheGetRequest(key=[b"old"], for_cas=True), got)
        request, response = pb.MemcacheSetRequest(), pb.MemcacheSetResponse()
        request.item.add(key=b"new", value=b"2", set_policy=request.ADD)
        request.item.add(key=b"old", value=b"3", set_policy=request.CAS, for_cas=True, cas_id=got.item[0].cas_id)
        request.item.add(key=b"old", value=b"4", set_policy=request.CAS, for_cas=True, cas_id=got.item[0].cas_id)
        call("Set", request, response)
        assert list(response.set_status) == [response.STORED, response.STORED, response.EXISTS]

    def test_increments_add_up_over_threads(self, server: ApiServer) -> None:
        memcache.set("count", 0)

        def compare_and_set() -> None:
            client = memcache.Client()
            with ticket():
                for _ in range(20):
                    while not client.cas("count", client.gets("count") + 1):
                        pass
                    memcache.incr("sum", initial_value=0)

        threads = [threading.Thread(target=compare_and_set) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert (memcache.get("count"), memcache.get("sum")) == (80, 80)

    def test_refuses_a_key_that_the_service_would_refuse(self, server: ApiServer) -> None:
        with pytest.raises(apiproxy_errors.RPCFailedError, match="251 bytes; 250 is the most"):
            call("Get", pb.MemcacheGetRequest(key=[b"k" * 251]), pb.MemcacheGetResponse())

    def test_refuses_a_value_that_the_service_would_refuse(self, server: ApiServer) -> None:
        request = pb.MemcacheSetRequest()
        request.item.add(key=b"k", value=b"v" * 2**20)
        with pytest.raises(apiproxy_errors.RPCFailedError):
            call("Set", request, pb.MemcacheSetResponse())

    def test_refuses_a_reply_over_32_megabytes(self, server: ApiServer) -> None:
        keys = [b"%d" % number for number in range(34)]
        for key in keys:
            memcache.set(key, b"v" * 1_000_000)
        with pytest.raises(apiproxy_errors.ResponseTooLargeError):
            call("Get", pb.MemcacheGetRequest(key=keys), pb.MemcacheGetResponse())

    def test_reports_an_error_of_the_service_as_one(self, server: ApiServer) -> None:
        memcache.set("text", "no number")
        with pytest.raises(apiproxy_errors.ApplicationError) as raised:
            call("Increment", pb.MemcacheIncrementRequest(key=b"text"), pb.MemcacheIncrementResponse())
        assert raised.value.application_error == pb.MemcacheServiceError.INVALID_VALUE

    def test_forgets_everything_when_flushed(self, server: ApiServer) -> None:
        memcache.set("key", b"x")
        server.flush()
        assert memcache.get("key") is None

    def test_evicts_the_oldest_when_memory_runs_out_and_after_a_flush_too(self) -> None:
        with ApiServer(app_engine=AppEngine(memcache_bytes=1000)) as server, connected(server.port):
            server.flush()
            for number in range(20):
                memcache.set(f"key{number}", b"x" * 100)
            assert memcache.get("key0") is None
            assert memcache.get("key19") == b"x" * 100


class TestOtherServices:
    def test_capabilities_are_enabled(self, server: ApiServer) -> None:
        assert capabilities.CapabilitySet("memcache").is_enabled()

    def test_a_login_link_is_given(self, server: ApiServer) -> None:
        assert "continue=/admin" in users.create_login_url("/admin")

    def test_a_service_that_is_not_here_is_named(self, server: ApiServer) -> None:
        with pytest.raises(apiproxy_errors.CallNotFoundError, match="no service 'images' here; there are"):
            call("Get", pb.MemcacheGetRequest(), pb.MemcacheGetResponse(), service="images")

    def test_a_call_that_is_not_here_is_named(self, server: ApiServer) -> None:
        with pytest.raises(apiproxy_errors.CallNotFoundError, match="no call 'SetClock' in 'memcache'"):
            call("SetClock", pb.MemcacheGetRequest(), pb.MemcacheGetResponse())


class TestRequests:
    def test_calls_are_counted(self, server: ApiServer) -> None:
        memcache.get("a")
        memcache.get_multi(["a", "b"])
        assert server.app_engine.calls == {("memcache", "Get"): 2}

    def test_a_call_without_a_ticket_never_leaves_the_client(self, server: ApiServer) -> None:
        DefaultApiStub.SetUseRequestSecurityTicketForThread(False)
        with pytest.raises(apiproxy_errors.RPCFailedError, match="ticket"):
            call("FlushAll", pb.MemcacheFlushRequest(), pb.MemcacheFlushResponse())

    def test_a_call_with_an_empty_ticket_is_a_security_violation(self, server: ApiServer) -> None:
        assert rpc_error_code(server, request_id="") == remote_api.RpcError.SECURITY_VIOLATION
        assert not server.app_engine.calls

    def test_a_request_that_does_not_parse_is_a_parse_error(self, server: ApiServer) -> None:
        assert rpc_error_code(server, method="Get", request=b"\xff\xff") == remote_api.RpcError.PARSE_ERROR

    def test_a_body_that_does_not_parse_is_a_parse_error(self, server: ApiServer) -> None:
        _, body = post(server, b"\xff\xff")
        assert remote_api.Response.FromString(body).rpc_error.code == remote_api.RpcError.PARSE_ERROR

    @pytest.mark.parametrize(
        ("headers", "status"),
        [
            ({"Origin": "http://127.0.0.1:8080"}, 403),
            ({"Host": "evil.example"}, 403),
            ({"Host": "["}, 403),
            ({"X_Google_RPC_Service_Endpoint": ""}, 403),
            ({"Transfer_Encoding": "chunked"}, 501),
            ({"Content_Length": "-1"}, 400),
            ({"Content_Length": str(2**40)}, 413),
            ({"X_Long": "x" * 70_000}, 431),
        ],
    )
    def test_what_a_web_page_or_a_stranger_could_send_is_refused(
        self, server: ApiServer, headers: dict[str, str], status: int
    ) -> None:
        assert post(server, b"", **headers)[0] == status
        assert not server.app_engine.calls

    @pytest.mark.parametrize(
        "request_bytes", [b"nonsense\r\n\r\n", b"GET /x HTTP/1.1\r\nno colon\r\n\r\n", b"POST / HTTP/1.1\r\n\r\n"]
    )
    def test_a_request_that_is_no_http_is_refused(self, server: ApiServer, request_bytes: bytes) -> None:
        with socket.create_connection(("127.0.0.1", server.port)) as connection:
            connection.sendall(request_bytes)
            assert connection.recv(100).startswith(b"HTTP/1.1 40")

    @pytest.mark.parametrize(("path", "method", "status"), [("/", "GET", 404), ("/rpc_http", "GET", 405)])
    def test_other_paths_and_methods_say_what_this_is(
        self, server: ApiServer, path: str, method: str, status: int
    ) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", server.port)
        connection.request(method, path)
        assert connection.getresponse().status == status
        connection.close()

    def test_listens_on_the_loopback_interface_alone(self, server: ApiServer) -> None:
        with socket.socket() as other, pytest.raises(ConnectionRefusedError):
            other.connect(("127.0.0.2", server.port))

    def test_a_port_in_use_is_an_error(self, server: ApiServer) -> None:
        with pytest.raises(OSError, match="in use"):
            ApiServer(port=server.port)

    def test_closing_ends_connections_that_are_kept_alive(self, server: ApiServer) -> None:
        memcache.get("a")
        server.close()
        with pytest.raises(apiproxy_errors.RPCFailedError):
            call("FlushAll", pb.MemcacheFlushRequest(), pb.MemcacheFlushResponse())


class TestProcess:
    def test_serves_until_it_is_terminated(self) -> None:
        process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "devserver.appengine.server", "--port", "0"],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        with process, process.stdout:
            port = int(process.stdout.readline().rsplit(":", 1)[1])
            with connected(port):
                assert memcache.set("key", b"x")
            process.terminate()
            assert process.wait() == 0

    def test_a_busy_port_is_one_clear_line(self, server: ApiServer) -> None:
        ended = subprocess.run(
            [sys.executable, "-W", "ignore", "-m", "devserver.appengine.server", "--port", str(server.port)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert ended.returncode == 2
        assert ended.stderr.count("\n") == 1
        assert f"port {server.port} is taken" in ended.stderr
        assert "--port" in ended.stderr


def test_connecting_puts_everything_back() -> None:
    before = dict(os.environ), apiproxy_stub_map.apiproxy
    with ApiServer() as server, connected(server.port):
        assert memcache.set("key", 1)
    assert (dict(os.environ), apiproxy_stub_map.apiproxy) == before
