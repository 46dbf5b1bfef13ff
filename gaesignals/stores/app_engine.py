"""The store on App Engine's memcache, and App Engine's namespaces: all that the library knows of the platform.

`MemcacheStore` speaks the service's own messages and keeps nothing between calls, so it may be used from any number of
threads, but only where App Engine's APIs may be called: in a request to an app in `wrap_wsgi_app` or in
`AsyncSignalsMiddleware`, and in threads that run what `in_this_request` made. It never unpickles what it reads.
"""

from __future__ import annotations

import collections
import contextlib
import logging
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from google.appengine.api import apiproxy_stub_map
from google.appengine.api.memcache import memcache_service_pb2 as pb
from google.appengine.api.namespace_manager import namespace_manager
from google.appengine.runtime import apiproxy_errors
from google.protobuf.message import DecodeError

from gaesignals.errors import InvalidOptionError, StoreError, brief
from gaesignals.request import using_ticket

from .store import MEMCACHE_LIMITS, Absent, Add, Cas, Found, Outcome, Read, Set, Write, check_writes, checked_keys

logger = logging.getLogger("gaesignals")

_SERVICE: Final = "memcache"
_NAMESPACE: Final = re.compile(r"[0-9A-Za-z._-]{0,100}")

# How a call ends when the service, the way to it or the process's end is at fault. Anything else is a mistake here.
_CALL_FAILURES: Final = (apiproxy_errors.Error, DecodeError, OSError, RuntimeError)

# What the SDK says, before it sends anything, where there is no request that the call could belong to.
_NO_TICKET: Final = "without active security ticket"
_IN_TESTS: Final = "in a test, use pytest's fixture `signals`"

_GET, _SET, _DELETE = pb.MemcacheGetResponse, pb.MemcacheSetResponse, pb.MemcacheDeleteResponse
_POLICIES: Final = {Add: pb.MemcacheSetRequest.ADD, Cas: pb.MemcacheSetRequest.CAS, Set: pb.MemcacheSetRequest.SET}
_OUTCOMES: Final = {
    (Add, _SET.STORED): Outcome.STORED,
    (Add, _SET.NOT_STORED): Outcome.CONFLICT,
    (Add, _SET.EXISTS): Outcome.CONFLICT,
    (Cas, _SET.STORED): Outcome.STORED,
    (Cas, _SET.NOT_STORED): Outcome.MISSING,
    (Cas, _SET.EXISTS): Outcome.CONFLICT,
    (Set, _SET.STORED): Outcome.STORED,
}


class MemcacheStore:
    """App Engine's memcache as a `Store`, in one namespace whatever `namespace_manager` says.

    Where App Engine's APIs cannot be called at all, `StoreError` says so, and nothing has happened.

    `deadline_seconds` bounds each call. `split_by_policy` sends the adds, the compare-and-sets and the sets of a write
    in calls of their own, in this order, should the service ever refuse them together.
    """

    limits = MEMCACHE_LIMITS

    def __init__(self, *, namespace: str = "", deadline_seconds: float = 5.0, split_by_policy: bool = False) -> None:
        if not isinstance(namespace, str) or not _NAMESPACE.fullmatch(namespace):
            raise InvalidOptionError(
                f"namespace={brief(namespace)} cannot be: App Engine allows up to 100 letters, digits, '.', '_' and '-'"
            )
        if type(deadline_seconds) not in (int, float) or not 0 < deadline_seconds <= 60:
            raise InvalidOptionError(
                f"deadline_seconds={brief(deadline_seconds)} cannot be: use more than 0 and at most 60"
            )
        self.namespace = namespace
        self.deadline_seconds = deadline_seconds
        self.split_by_policy = split_by_policy

    def gets(self, keys: Collection[bytes]) -> Mapping[bytes, Read]:
        """Read all `keys`, with the ids that a later `Cas` needs, in one call."""
        wanted = checked_keys(keys, self.limits)
        if not wanted:
            return {}
        request = pb.MemcacheGetRequest(key=wanted, name_space=self.namespace, for_cas=True)
        response = _GET()
        if not self._call("Get", request, response, count=len(wanted)):
            return dict.fromkeys(wanted, Absent.FAILED)
        return self._reads(wanted, response)

    def write(self, writes: Sequence[Write]) -> Mapping[bytes, Outcome]:
        """Carry out all `writes` in one call."""
        check_writes(writes, self.limits)
        outcomes: dict[bytes, Outcome] = {}
        for group in self._calls(writes):
            outcomes.update(self._set(group))
        return outcomes

    def delete(self, keys: Collection[bytes]) -> Mapping[bytes, bool]:
        """Delete all `keys` in one call; True where the key is certainly gone."""
        wanted = checked_keys(keys, self.limits)
        if not wanted:
            return {}
        request = pb.MemcacheDeleteRequest(name_space=self.namespace)
        for key in wanted:
            request.item.add(key=key)
        response = _DELETE()
        if not self._call("Delete", request, response, count=len(wanted)):
            return dict.fromkeys(wanted, False)
        statuses = self._statuses(response.delete_status, len(wanted))
        gone = [status in (_DELETE.DELETED, _DELETE.NOT_FOUND) for status in statuses]
        self._log_partial("Delete", (status for status, is_gone in zip(statuses, gone, strict=True) if not is_gone))
        return dict(zip(wanted, gone, strict=True))

    def _reads(self, wanted: Sequence[bytes], response: Any) -> dict[bytes, Read]:
        items = {item.key: item for item in response.item}
        if response.get_status:
            statuses = self._statuses(response.get_status, len(wanted))
        else:  # the local stub tells a miss by leaving the key out
            statuses = [_GET.HIT if key in items else _GET.MISS for key in wanted]
        reads = {key: _read(status, items.get(key)) for key, status in zip(wanted, statuses, strict=True)}
        self._log_partial(
            "Get", (status for key, status in zip(wanted, statuses, strict=True) if reads[key] is Absent.FAILED)
        )
        return reads

    def _calls(self, writes: Sequence[Write]) -> Iterator[list[Write]]:
        groups = [list(writes)]
        if self.split_by_policy:
            groups = [[write for write in writes if type(write) is policy] for policy in _POLICIES]
        return filter(None, groups)

    def _set(self, writes: Sequence[Write]) -> dict[bytes, Outcome]:
        request = pb.MemcacheSetRequest(name_space=self.namespace)
        for write in writes:
            item = request.item.add(key=write.key, value=write.value, expiration_time=write.ttl_seconds)
            item.set_policy = _POLICIES[type(write)]
            if isinstance(write, Cas):
                item.cas_id, item.for_cas = write.cas, True
        response = _SET()
        if not self._call("Set", request, response, count=len(writes)):
            return {write.key: Outcome.FAILED for write in writes}
        statuses = self._statuses(response.set_status, len(writes))
        outcomes = {
            write.key: _OUTCOMES.get((type(write), status), Outcome.FAILED)
            for write, status in zip(writes, statuses, strict=True)
        }
        self._log_partial(
            "Set", (s for w, s in zip(writes, statuses, strict=True) if outcomes[w.key] is Outcome.FAILED)
        )
        return outcomes

    def _call(self, method: str, request: Any, response: Any, *, count: int) -> bool:
        if apiproxy_stub_map.apiproxy.GetStub(_SERVICE) is None:
            raise StoreError(
                "App Engine's APIs are not set up in this process: wrap the application in "
                f"google.appengine.api.wrap_wsgi_app, or in gaesignals.AsyncSignalsMiddleware for ASGI; {_IN_TESTS}"
            )
        rpc = apiproxy_stub_map.UserRPC(_SERVICE, self.deadline_seconds)
        try:
            with using_ticket():
                rpc.make_call(method, request, response)
            rpc.check_success()
        except _CALL_FAILURES as error:
            if _NO_TICKET in str(error):
                raise StoreError(
                    "App Engine's APIs cannot be called from this thread, only from that of a request inside "
                    "wrap_wsgi_app, in a service with `app_engine_apis: true`; "
                    f"run gaesignals.in_this_request(function) in other threads; {_IN_TESTS}"
                ) from error
            logger.warning(
                "a call to memcache failed",
                extra={
                    "signals_call": method,
                    "signals_keys": count,
                    "signals_error": f"{type(error).__name__}: {error}",
                },
            )
            return False
        return True

    def _statuses(self, statuses: Collection[int], count: int) -> list[int]:
        """Return one status a key; 0, which stands for none, where their number says that they mean nothing."""
        return list(statuses) if len(statuses) == count else [0] * count

    def _log_partial(self, method: str, failed: Iterable[int]) -> None:
        counts = collections.Counter(failed)
        if counts:
            logger.warning(
                "memcache failed for some keys of a call",
                extra={
                    "signals_call": method,
                    "signals_keys": counts.total(),
                    "signals_statuses": dict(counts),
                },
            )


def _read(status: int, item: Any) -> Read:
    if status == _GET.MISS and item is None:
        return Absent.MISSING
    if status != _GET.HIT or item is None or not item.HasField("cas_id"):
        return Absent.FAILED
    return Found(b"" if item.flags else item.value, item.cas_id)


class AppEngineNamespaces:
    """The namespace that App Engine's own services use by default, as `namespace_manager` keeps it."""

    def current(self) -> str:
        """Return the namespace of the request or thread that asks."""
        namespace: str = namespace_manager.get_namespace()
        return namespace

    @contextlib.contextmanager
    def using(self, namespace: str) -> Iterator[None]:
        """Make `namespace` the current one inside the `with` block, and put the previous one back after it."""
        previous = self.current()
        namespace_manager.set_namespace(namespace)
        try:
            yield
        finally:
            namespace_manager.set_namespace(previous)
