"""App Engine's requests: whose ticket a call carries, in whatever thread or task it is made.

The SDK keeps in context variables what it knows of a request, and in each thread whether that thread may use it. Its
`wrap_wsgi_app` sees to both for the thread that a WSGI request runs in. Here is what other threads need besides, and
requests to ASGI applications, of which one thread serves many at a time.
"""

from __future__ import annotations

import contextlib
import contextvars
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Final, ParamSpec, TypeVar

from google.appengine.api import apiproxy_stub_map, full_app_id
from google.appengine.api.namespace_manager import namespace_manager
from google.appengine.runtime import context, default_api_stub, request_environment

P = ParamSpec("P")
T = TypeVar("T")

# Of a task that was added in another namespace; it is wrap_wsgi_app's.
_NAMESPACE: Final = "HTTP_X_APPENGINE_CURRENT_NAMESPACE"
_stub = default_api_stub.DefaultApiStub
_lock = threading.Lock()
_is_served: contextvars.ContextVar[bool] = contextvars.ContextVar("gaesignals_is_served", default=False)


def in_this_request(function: Callable[P, T]) -> Callable[P, T]:
    """As `gaesignals.in_this_request`, which says what it is for."""
    copied = contextvars.copy_context()
    enter = request_environment.current_request.CloneRequestEnvironment()
    may_call = has_ticket()

    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        leave = request_environment.current_request.CloneRequestEnvironment()
        before = _stub.ShouldUseRequestSecurityTicketForThread()
        enter()
        _stub.SetUseRequestSecurityTicketForThread(may_call)
        try:
            # A context can be entered once at a time, so each call has a copy.
            return copied.copy().run(function, *args, **kwargs)
        finally:
            _stub.SetUseRequestSecurityTicketForThread(before)
            leave()

    return call


@contextlib.contextmanager
def serving(environ: Mapping[str, str]) -> Iterator[bool]:
    """Give the block the request whose headers `environ` has, by their names in CGI.

    It is that of the current task or thread and of those that get a copy of its context variables.
    """
    _prepare()
    tokens = context.init_from_wsgi_environ(environ)
    served = _is_served.set(True)
    namespace = namespace_manager.get_namespace()
    namespace_manager.set_namespace(environ.get(_NAMESPACE, namespace))
    try:
        yield True
    finally:
        namespace_manager.set_namespace(namespace)
        _is_served.reset(served)
        for variable, token in tokens.items():
            variable.reset(token)


@contextlib.contextmanager
def using_ticket() -> Iterator[None]:
    """Let the thread use the ticket of the request that is served here, until the block ends without an `await`.

    Where nothing is served here, as in a WSGI request, it does what the SDK does.
    """
    before = _stub.ShouldUseRequestSecurityTicketForThread()
    _stub.SetUseRequestSecurityTicketForThread(has_ticket())
    try:
        yield
    finally:
        _stub.SetUseRequestSecurityTicketForThread(before)


def has_ticket() -> bool:
    """Whether calls that this thread or task makes belong to a request."""
    return _is_served.get() or bool(_stub.ShouldUseRequestSecurityTicketForThread())


def _prepare() -> None:
    """Connect the process to App Engine's services, as `wrap_wsgi_app` does, and nothing else of what that does.

    The SDK then looks for a request in context variables, which each task has its own of, and not in `os.environ`. An
    application in `wrap_wsgi_app` beside this one is found there, too.
    """
    with _lock:
        context.READ_FROM_OS_ENVIRON = False
        if apiproxy_stub_map.apiproxy.GetStub("memcache") is None:
            full_app_id.normalize()
            default_api_stub.Register(_stub())
