"""App Engine's memcache, down to every status that its messages know. What all stores promise is in tests/contract."""

from __future__ import annotations

import contextlib
import logging
import pickle
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from google.appengine.api import apiproxy_stub_map, memcache
from google.appengine.api.memcache import memcache_service_pb2 as pb
from google.appengine.api.memcache import memcache_stub
from google.appengine.api.namespace_manager import namespace_manager
from google.appengine.runtime import apiproxy_errors
from google.appengine.runtime.default_api_stub import DefaultApiStub

from gaesignals.errors import InvalidOptionError, StoreError
from gaesignals.stores.app_engine import AppEngineNamespaces, MemcacheStore
from gaesignals.stores.store import Absent, Add, Cas, Found, Outcome, Set

GET, SET, DELETE = pb.MemcacheGetResponse, pb.MemcacheSetResponse, pb.MemcacheDeleteResponse


@pytest.fixture(autouse=True)
def proxy(monkeypatch: pytest.MonkeyPatch) -> Any:
    proxy = apiproxy_stub_map.APIProxyStubMap(memcache_stub.MemcacheServiceStub())
    monkeypatch.setattr(apiproxy_stub_map, "apiproxy", proxy)
    return proxy


@pytest.fixture
def store() -> MemcacheStore:
    return MemcacheStore()


@pytest.fixture
def answer(proxy: Any) -> Callable[[Callable[[Any, Any], None]], None]:
    """Have a function of the request and the response change each answer."""

    def install(change: Callable[[Any, Any], None]) -> None:
        def hook(service: str, call: str, request: Any, response: Any) -> None:
            change(request, response)

        proxy.GetPostCallHooks().Clear()
        proxy.GetPostCallHooks().Append("change", hook)

    return install


@pytest.fixture
def calls(proxy: Any) -> list[tuple[str, Any, Any]]:
    calls: list[tuple[str, Any, Any]] = []

    def record(service: str, call: str, request: Any, response: Any, rpc: Any) -> None:
        assert service == "memcache"
        calls.append((call, request, rpc))

    proxy.GetPreCallHooks().Append("record", record)
    return calls


def test_each_verb_is_one_call_for_all_its_keys(store: MemcacheStore, calls: list[Any]) -> None:
    store.write([Set(b"%d" % number, b"x") for number in range(500)] + [Add(b"add", b"x"), Cas(b"cas", b"x", 5)])
    store.gets([b"%d" % number for number in range(500)])
    store.delete([b"%d" % number for number in range(500)])
    assert [call for call, _, _ in calls] == ["Set", "Get", "Delete"]


def test_each_item_of_a_write_carries_its_policy_expiry_and_id(store: MemcacheStore, calls: list[Any]) -> None:
    store.write([Add(b"a", b"1", 60), Cas(b"c", b"3", 2**64 - 1, 90), Set(b"s", b"2")])
    ((_, request, _),) = calls
    policies = pb.MemcacheSetRequest
    assert [(i.key, i.value, i.set_policy, i.expiration_time, i.cas_id, i.for_cas, i.flags) for i in request.item] == [
        (b"a", b"1", policies.ADD, 60, 0, False, 0),
        (b"c", b"3", policies.CAS, 90, 2**64 - 1, True, 0),
        (b"s", b"2", policies.SET, 0, 0, False, 0),
    ]


def test_a_write_can_be_split_by_policy_in_one_call_each(calls: list[Any]) -> None:
    store = MemcacheStore(split_by_policy=True)
    writes = [Set(b"s", b"1"), Cas(b"c", b"1", 5), Add(b"a", b"1"), Add(b"b", b"1"), Cas(b"d", b"1", 5)]
    outcomes = store.write(writes)
    assert [[item.key for item in request.item] for _, request, _ in calls] == [[b"a", b"b"], [b"c", b"d"], [b"s"]]
    assert outcomes == {b"a": Outcome.STORED, b"b": Outcome.STORED, b"s": Outcome.STORED} | dict.fromkeys(
        [b"c", b"d"], Outcome.MISSING
    )


def test_of_a_split_write_only_the_call_that_failed_is_unknown(proxy: Any) -> None:
    def fail_cas(service: str, call: str, request: Any, response: Any) -> None:
        if request.item[0].set_policy == pb.MemcacheSetRequest.CAS:
            raise apiproxy_errors.RPCFailedError

    proxy.GetPreCallHooks().Append("fail", fail_cas)
    outcomes = MemcacheStore(split_by_policy=True).write([Set(b"s", b"1"), Cas(b"c", b"1", 5), Add(b"a", b"1")])
    assert outcomes == {b"a": Outcome.STORED, b"c": Outcome.FAILED, b"s": Outcome.STORED}


@pytest.mark.parametrize("status", GET.GetStatusCode.values())
@pytest.mark.parametrize("is_there", [True, False], ids=["with its item", "without an item"])
def test_each_status_of_a_get(store: MemcacheStore, answer: Any, status: int, is_there: bool) -> None:
    if is_there:
        store.write([Set(b"a", b"1")])
    answer(lambda request, response: response.get_status.append(status))
    read = store.gets([b"a"])[b"a"]
    if is_there and status == GET.HIT:
        assert isinstance(read, Found)
        assert read.value == b"1"
    elif not is_there and status == GET.MISS:
        assert read is Absent.MISSING
    else:
        assert read is Absent.FAILED


def test_of_a_get_that_failed_for_some_keys_the_others_are_answered(store: MemcacheStore, answer: Any) -> None:
    store.write([Set(b"a", b"1")])
    answer(lambda request, response: response.get_status.extend([GET.HIT, GET.MISS, GET.UNREACHABLE]))
    reads = store.gets([b"a", b"b", b"c"])
    assert isinstance(reads[b"a"], Found)
    assert [reads[b"b"], reads[b"c"]] == [Absent.MISSING, Absent.FAILED]


@pytest.mark.parametrize("statuses", [[GET.HIT], [GET.HIT, GET.MISS, GET.MISS]])
def test_a_get_with_a_wrong_number_of_statuses_failed(store: MemcacheStore, answer: Any, statuses: list[int]) -> None:
    store.write([Set(b"a", b"1")])
    answer(lambda request, response: response.get_status.extend(statuses))
    assert store.gets([b"a", b"b"]) == {b"a": Absent.FAILED, b"b": Absent.FAILED}


def test_an_item_without_an_id_is_a_failure_since_it_could_never_be_replaced(store: MemcacheStore, answer: Any) -> None:
    store.write([Set(b"a", b"1")])
    answer(lambda request, response: response.item[0].ClearField("cas_id"))
    assert store.gets([b"a"]) == {b"a": Absent.FAILED}


def test_an_item_that_nobody_asked_for_is_ignored(store: MemcacheStore, answer: Any) -> None:
    answer(lambda request, response: response.item.add(key=b"other", value=b"1", cas_id=1))
    assert store.gets([b"a"]) == {b"a": Absent.MISSING}


ADD, CAS, SET_ALWAYS = Add(b"a", b"1"), Cas(b"a", b"1", 1), Set(b"a", b"1")


@pytest.mark.parametrize(
    ("write", "status", "outcome"),
    [
        (ADD, SET.STORED, Outcome.STORED),
        (ADD, SET.NOT_STORED, Outcome.CONFLICT),
        (ADD, SET.EXISTS, Outcome.CONFLICT),
        (CAS, SET.STORED, Outcome.STORED),
        (CAS, SET.NOT_STORED, Outcome.MISSING),
        (CAS, SET.EXISTS, Outcome.CONFLICT),
        (SET_ALWAYS, SET.STORED, Outcome.STORED),
        (SET_ALWAYS, SET.NOT_STORED, Outcome.FAILED),
        (SET_ALWAYS, SET.EXISTS, Outcome.FAILED),
        *(
            (write, status, Outcome.FAILED)
            for write in (ADD, CAS, SET_ALWAYS)
            for status in (SET.ERROR, SET.DEADLINE_EXCEEDED, SET.UNREACHABLE, SET.OTHER_ERROR)
        ),
    ],
)
def test_each_status_of_a_set(store: MemcacheStore, answer: Any, write: Any, status: int, outcome: Outcome) -> None:
    def change(request: Any, response: Any) -> None:
        response.set_status[:] = [status]

    answer(change)
    assert store.write([write]) == {b"a": outcome}


@pytest.mark.parametrize("statuses", [[], [SET.STORED], [SET.STORED] * 3])
def test_a_set_with_a_wrong_number_of_statuses_failed(store: MemcacheStore, answer: Any, statuses: list[int]) -> None:
    def change(request: Any, response: Any) -> None:
        response.set_status[:] = statuses

    answer(change)
    assert store.write([Set(b"a", b"1"), Add(b"b", b"1")]) == {b"a": Outcome.FAILED, b"b": Outcome.FAILED}


@pytest.mark.parametrize("status", DELETE.DeleteStatusCode.values())
def test_each_status_of_a_delete(store: MemcacheStore, answer: Any, status: int) -> None:
    def change(request: Any, response: Any) -> None:
        response.delete_status[:] = [status]

    answer(change)
    assert store.delete([b"a"]) == {b"a": status in (DELETE.DELETED, DELETE.NOT_FOUND)}


@pytest.mark.parametrize("statuses", [[], [DELETE.DELETED], [DELETE.DELETED] * 3])
def test_a_delete_with_a_wrong_number_of_statuses_failed(
    store: MemcacheStore, answer: Any, statuses: list[int]
) -> None:
    def change(request: Any, response: Any) -> None:
        response.delete_status[:] = statuses

    answer(change)
    assert store.delete([b"a", b"b"]) == {b"a": False, b"b": False}


class Bomb:
    def __reduce__(self) -> Any:
        return (pytest.fail, ("a pickle was loaded",))


@pytest.mark.parametrize("value", [Bomb(), "text", 5, True, [1]], ids=lambda value: type(value).__name__)
def test_a_value_that_is_not_plain_bytes_is_found_empty_and_can_be_replaced(store: MemcacheStore, value: Any) -> None:
    memcache.Client(pickleProtocol=pickle.HIGHEST_PROTOCOL).set("a", value)
    read = store.gets([b"a"])[b"a"]
    assert isinstance(read, Found)
    assert read.value == b""
    assert store.write([Cas(b"a", b"ours", read.cas)]) == {b"a": Outcome.STORED}
    assert getattr(store.gets([b"a"])[b"a"], "value", None) == b"ours"


def decode_error() -> Exception:
    try:
        GET.FromString(b"\xff")
    except Exception as error:
        return error
    raise AssertionError("protobuf took garbage")


ERRORS = [
    apiproxy_errors.RPCFailedError("x"),
    apiproxy_errors.CallNotFoundError("x"),
    apiproxy_errors.ArgumentError("x"),
    apiproxy_errors.DeadlineExceededError("x"),
    apiproxy_errors.CancelledError("x"),
    apiproxy_errors.ApplicationError(1, "x"),
    apiproxy_errors.OverQuotaError("x"),
    apiproxy_errors.RequestTooLargeError("x"),
    apiproxy_errors.ResponseTooLargeError("x"),
    apiproxy_errors.CapabilityDisabledError("x"),
    ConnectionResetError("x"),
    RuntimeError("cannot schedule new futures after shutdown"),
    decode_error(),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("hooks", ["GetPreCallHooks", "GetPostCallHooks"])
def test_a_call_that_the_service_failed_is_answered_as_failed(
    store: MemcacheStore, proxy: Any, error: Exception, hooks: str
) -> None:
    def fail(service: str, call: str, request: Any, response: Any) -> None:
        raise error

    getattr(proxy, hooks)().Append("fail", fail)
    assert store.gets([b"a"]) == {b"a": Absent.FAILED}
    assert store.write([Set(b"a", b"1")]) == {b"a": Outcome.FAILED}
    assert store.delete([b"a"]) == {b"a": False}


@pytest.mark.parametrize("error", [TypeError, ValueError, AssertionError, ZeroDivisionError, KeyboardInterrupt])
def test_a_mistake_of_this_process_is_raised(store: MemcacheStore, proxy: Any, error: type[BaseException]) -> None:
    def fail(service: str, call: str, request: Any, response: Any) -> None:
        raise error

    proxy.GetPreCallHooks().Append("fail", fail)
    with pytest.raises(error):
        store.gets([b"a"])


def test_a_failed_call_is_logged_once_with_its_cause_and_without_what_it_carried(
    store: MemcacheStore, proxy: Any, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(service: str, call: str, request: Any, response: Any) -> None:
        raise apiproxy_errors.OverQuotaError("over quota")

    proxy.GetPreCallHooks().Append("fail", fail)
    store.write([Set(b"secret key", b"secret value"), Set(b"b", b"")])
    (record,) = caplog.records
    assert (record.levelno, record.message) == (logging.WARNING, "a call to memcache failed")
    fields = {name: value for name, value in vars(record).items() if name.startswith("signals_")}
    assert fields == {
        "signals_call": "Set",
        "signals_keys": 2,
        "signals_error": "OverQuotaError: over quota",
    }
    assert "secret" not in str(vars(record))


def test_keys_that_failed_are_logged_once_by_status(
    store: MemcacheStore, answer: Any, caplog: pytest.LogCaptureFixture
) -> None:
    def change(request: Any, response: Any) -> None:
        response.set_status[:] = [SET.STORED, SET.UNREACHABLE, SET.UNREACHABLE, SET.ERROR]

    answer(change)
    store.write([Set(b"secret%d" % number, b"secret") for number in range(4)])
    (record,) = caplog.records
    assert (record.levelno, record.message) == (logging.WARNING, "memcache failed for some keys of a call")
    fields: Any = record
    assert (fields.signals_call, fields.signals_keys) == ("Set", 3)
    assert fields.signals_statuses == {SET.UNREACHABLE: 2, SET.ERROR: 1}
    assert "secret" not in str(vars(record))


def test_a_conflict_a_miss_and_a_hit_are_not_logged(store: MemcacheStore, caplog: pytest.LogCaptureFixture) -> None:
    store.write([Set(b"a", b"1")])
    store.write([Add(b"a", b"1"), Cas(b"b", b"1", 1)])
    store.gets([b"a", b"b"])
    store.delete([b"a", b"b"])
    assert caplog.records == []


def test_outside_a_request_the_error_says_where_calls_can_be_made(
    store: MemcacheStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(apiproxy_stub_map, "apiproxy", apiproxy_stub_map.APIProxyStubMap(DefaultApiStub()))
    for call in (lambda: store.gets([b"a"]), lambda: store.write([ADD]), lambda: store.delete([b"a"])):
        with pytest.raises(StoreError, match=r"`app_engine_apis: true`; run .*in_this_request.* fixture `signals`"):
            call()


def test_without_app_engines_apis_the_error_says_what_to_do(
    store: MemcacheStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(apiproxy_stub_map, "apiproxy", apiproxy_stub_map.APIProxyStubMap())
    for call in (lambda: store.gets([b"a"]), lambda: store.write([ADD]), lambda: store.delete([b"a"])):
        with pytest.raises(StoreError, match="for ASGI; in a test, use pytest's fixture `signals`"):
            call()


def test_a_call_has_a_deadline(calls: list[Any]) -> None:
    MemcacheStore().gets([b"a"])
    MemcacheStore(deadline_seconds=2.5).gets([b"a"])
    assert [rpc.deadline for _, _, rpc in calls] == [5.0, 2.5]


@pytest.mark.parametrize("deadline_seconds", [0, -1, 61, float("nan"), True, "5", None])
def test_a_deadline_that_cannot_be_is_refused(deadline_seconds: Any) -> None:
    with pytest.raises(InvalidOptionError, match="deadline_seconds"):
        MemcacheStore(deadline_seconds=deadline_seconds)


@pytest.mark.parametrize("namespace", ["a b", "é", "a" * 101, "a\n", "/", None, 5, b"a"])
def test_a_namespace_that_app_engine_does_not_allow_is_refused(namespace: Any) -> None:
    with pytest.raises(InvalidOptionError, match="up to 100 letters, digits"):
        MemcacheStore(namespace=namespace)


def test_the_current_namespace_makes_no_difference_to_a_store(store: MemcacheStore) -> None:
    store.write([Set(b"a", b"1")])
    with AppEngineNamespaces().using("tenant"):
        assert isinstance(store.gets([b"a"])[b"a"], Found)
        store.write([Set(b"a", b"2")])
        assert MemcacheStore(namespace="tenant").gets([b"a"]) == {b"a": Absent.MISSING}
    assert getattr(store.gets([b"a"])[b"a"], "value", None) == b"2"


def test_a_namespace_is_set_inside_the_block_and_put_back_after_it() -> None:
    namespaces = AppEngineNamespaces()
    seen = [namespaces.current()]
    with namespaces.using("outer"):
        with contextlib.suppress(ZeroDivisionError), namespaces.using("inner"):
            seen.append(namespace_manager.get_namespace())
            raise ZeroDivisionError
        seen.append(namespaces.current())
    assert [*seen, namespaces.current()] == ["", "inner", "outer", ""]


def test_a_namespace_is_put_back_though_a_handler_changed_it() -> None:
    with AppEngineNamespaces().using("outer"):
        namespace_manager.set_namespace("left-behind")
    assert namespace_manager.get_namespace() == ""


def test_a_namespace_is_that_of_its_thread() -> None:
    seen: list[str] = []
    with AppEngineNamespaces().using("here"):
        thread = threading.Thread(target=lambda: seen.append(AppEngineNamespaces().current()))
        thread.start()
        thread.join()
    assert seen == [""]


@pytest.fixture(autouse=True)
def no_namespace() -> Iterator[None]:
    yield
    namespace_manager.set_namespace("")
