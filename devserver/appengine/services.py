"""App Engine's bundled services, answered from the SDK's own stubs.

`AppEngine.answer` takes the bytes of a `remote_api` request and gives the bytes of its response: what a service says
about a call is in the response, and nothing is raised. Its memcache keeps what the real one promises and the SDK's stub
leaves out: a status for each key of a get, and the limits on keys, replies and memory.

It is safe in threads: one call at a time reaches the stubs, but for Datastore and the queues, which see to it
themselves.
"""

from __future__ import annotations

import collections
import contextlib
import logging
import threading
from dataclasses import dataclass
from typing import Any

from google.appengine.api import user_service_pb2 as user
from google.appengine.api import user_service_stub
from google.appengine.api.capabilities import capability_stub
from google.appengine.api.memcache import memcache_service_pb2 as memcache
from google.appengine.api.memcache import memcache_stub
from google.appengine.ext.remote_api import remote_api_bytes_pb2 as remote_api
from google.appengine.runtime import apiproxy_errors

from . import datastore, queues

logger = logging.getLogger(__name__)

MAX_KEY_BYTES = 250
MAX_REPLY_BYTES = 32 * 2**20
MEMCACHE_BYTES = 256 * 2**20

RpcError = remote_api.RpcError

_RPC_CODES: dict[type[Exception], int] = {
    apiproxy_errors.ArgumentError: RpcError.PARSE_ERROR,
    apiproxy_errors.CallNotFoundError: RpcError.CALL_NOT_FOUND,
    apiproxy_errors.CancelledError: RpcError.CANCELLED,
    apiproxy_errors.CapabilityDisabledError: RpcError.CAPABILITY_DISABLED,
    apiproxy_errors.DeadlineExceededError: RpcError.DEADLINE_EXCEEDED,
    apiproxy_errors.FeatureNotEnabledError: RpcError.FEATURE_DISABLED,
    apiproxy_errors.OverQuotaError: RpcError.OVER_QUOTA,
    apiproxy_errors.RequestTooLargeError: RpcError.REQUEST_TOO_LARGE,
    apiproxy_errors.ResponseTooLargeError: RpcError.RESPONSE_TOO_LARGE,
}


class _RefusedError(Exception):
    """A call that is answered with an `rpc_error`: its code, and a detail for the person who made it."""

    def __init__(self, code: int, detail: str) -> None:
        super().__init__(detail)
        self.code = code


@dataclass(frozen=True, slots=True)
class _Service:
    """A stub, and the message types of each of its methods that may be called."""

    stub: Any
    methods: dict[str, tuple[Any, Any]]
    wants_request_id: bool = False
    is_threadsafe: bool = False


class _Memcache(memcache_stub.MemcacheServiceStub):  # type: ignore[misc]  # the SDK ships no types
    """The SDK's memcache with the statuses and limits of the real one."""

    def __init__(self, max_bytes: int) -> None:
        super().__init__(max_size_bytes=max_bytes)
        self._max_bytes = max_bytes

    def _Dynamic_Get(self, request: Any, response: Any) -> None:
        _check_keys(request.key)
        super()._Dynamic_Get(request, response)
        found = {item.key for item in response.item}
        response.get_status.extend(response.HIT if key in found else response.MISS for key in request.key)

    def _Dynamic_Set(self, request: Any, response: Any) -> None:
        _check_keys(item.key for item in request.item)
        super()._Dynamic_Set(request, response)

    def Clear(self) -> None:
        super().Clear()
        # The stub's own forgets the limit it was made with.
        self._max_size_bytes = self._max_bytes


class _NoRequest:
    """What the user stub asks about the request behind a call: its URL is not known here, so links stay as given."""

    def get_request_url(self, request_id: str) -> str:
        raise KeyError(request_id)


class AppEngine:
    """The services of one App Engine, sharing nothing with any other.

    `calls` counts the calls that reached a service, by (service, method). `tasks_address` is that of a Cloud Tasks
    emulator; without one there is no queue service.
    """

    def __init__(self, *, memcache_bytes: int = MEMCACHE_BYTES, tasks_address: str = "") -> None:
        self.calls: collections.Counter[tuple[str, str]] = collections.Counter()
        self._lock = threading.Lock()
        self._memcache = _Memcache(memcache_bytes)
        self._services = {
            "memcache": _Service(self._memcache, _MEMCACHE_METHODS),
            "capability_service": _Service(capability_stub.CapabilityServiceStub(), _CAPABILITY_METHODS),
            "user": _Service(
                user_service_stub.UserServiceStub(request_data=_NoRequest()), _USER_METHODS, wants_request_id=True
            ),
        }
        self._add_datastore(tasks_address)

    def _add_datastore(self, tasks_address: str) -> None:
        store = datastore.Datastore(lambda task: self._queues.add(task))
        self._queues = queues.QueueService(tasks_address, stage=store.stage)
        self._services["datastore_v3"] = _Service(store, datastore.METHODS, is_threadsafe=True)
        if tasks_address:
            self._services["taskqueue"] = _Service(self._queues, queues.METHODS, is_threadsafe=True)

    def close(self) -> None:
        """Close the connection to the emulator."""
        self._queues.close()

    def flush_memcache(self) -> None:
        """Forget everything in memcache, as maintenance of the real one may."""
        with self._lock:
            self._memcache.Clear()

    def answer(self, body: bytes) -> bytes:
        """Carry out one serialized `remote_api.Request`; return the serialized `Response`."""
        response = remote_api.Response()
        try:
            response.response = self._call(_parsed(remote_api.Request, body))
        except _RefusedError as error:
            response.rpc_error.code, response.rpc_error.detail = error.code, str(error)
        except apiproxy_errors.ApplicationError as error:
            response.application_error.code = error.application_error
            response.application_error.detail = error.error_detail
        except apiproxy_errors.Error as error:
            response.rpc_error.code = _RPC_CODES.get(type(error), RpcError.UNKNOWN)
            response.rpc_error.detail = str(error)
        except Exception as error:  # one call must not end the server; it is logged and answered
            logger.exception("A stub failed")
            response.rpc_error.code, response.rpc_error.detail = (
                RpcError.BAD_REQUEST,
                f"{type(error).__name__}: {error}",
            )
        return bytes(response.SerializeToString())

    def _call(self, call: Any) -> bytes:
        if not call.request_id:
            raise _RefusedError(RpcError.SECURITY_VIOLATION, "the request has no ticket")
        service = self._services.get(call.service_name)
        if service is None:
            known = ", ".join(sorted(self._services))
            raise _RefusedError(RpcError.CALL_NOT_FOUND, f"no service {call.service_name!r} here; there are: {known}")
        if call.method not in service.methods:
            raise _RefusedError(RpcError.CALL_NOT_FOUND, f"no call {call.method!r} in {call.service_name!r} here")
        request_type, response_type = service.methods[call.method]
        request, response = _parsed(request_type, call.request), response_type()
        identity = {"request_id": call.request_id} if service.wants_request_id else {}
        with self._lock:
            self.calls[call.service_name, call.method] += 1
        with contextlib.nullcontext() if service.is_threadsafe else self._lock:
            service.stub.MakeSyncCall(call.service_name, call.method, request, response, **identity)
        reply = bytes(response.SerializeToString())
        if len(reply) > MAX_REPLY_BYTES:
            raise _RefusedError(RpcError.RESPONSE_TOO_LARGE, f"the reply has {len(reply)} bytes; 32 MB is the most")
        return reply


def _parsed(message_type: Any, data: bytes) -> Any:
    try:
        message = message_type.FromString(data)
    except Exception as error:  # protobuf's DecodeError differs between its implementations
        raise _RefusedError(RpcError.PARSE_ERROR, f"not a {message_type.DESCRIPTOR.name}") from error
    if not message.IsInitialized():
        raise _RefusedError(RpcError.PARSE_ERROR, f"{message_type.DESCRIPTOR.name} lacks a required field")
    return message


def _check_keys(keys: Any) -> None:
    for key in keys:
        if len(key) > MAX_KEY_BYTES:
            raise _RefusedError(
                RpcError.BAD_REQUEST, f"a memcache key has {len(key)} bytes; {MAX_KEY_BYTES} is the most"
            )


def _messages(module: Any, prefix: str, names: dict[str, str]) -> dict[str, tuple[Any, Any]]:
    return {
        method: (getattr(module, f"{prefix}{name}Request"), getattr(module, f"{prefix}{name}Response"))
        for method, name in names.items()
    }


_MEMCACHE_METHODS = _messages(
    memcache,
    "Memcache",
    {
        "Get": "Get",
        "Set": "Set",
        "Delete": "Delete",
        "Increment": "Increment",
        "BatchIncrement": "BatchIncrement",
        "FlushAll": "Flush",
        "Stats": "Stats",
    },
)
_USER_METHODS = _messages(
    user,
    "",
    {"CreateLoginURL": "CreateLoginURL", "CreateLogoutURL": "CreateLogoutURL", "GetOAuthUser": "GetOAuthUser"},
)
_CAPABILITY_METHODS = {"IsEnabled": (capability_stub.IsEnabledRequest, capability_stub.IsEnabledResponse)}
