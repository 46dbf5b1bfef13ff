"""An App Engine API server: several processes share one memcache and one Datastore through the SDK's production code.

Point a process at it with `API_HOST=127.0.0.1` and `API_PORT`; the SDK's default stub then posts every call to
`/rpc_http`. A call needs a ticket, any text: App Engine's front end gives each request one in the header
`X-Appengine-Api-Ticket`. What they hold is gone when the server ends.
"""

from __future__ import annotations

import http
import sys
from collections.abc import Sequence
from types import TracebackType

from gaesignals.appyaml.errors import ConfigError

from ..processes.ports import LOOPBACK
from ..processes.serving import command_line, serve
from .loopback_http import LoopbackServer, Request, Response, plain
from .services import AppEngine

RPC_PATH = "/rpc_http"
_ENDPOINT_HEADER = "x-google-rpc-service-endpoint"
_ENDPOINT = "app-engine-apis"


class ApiServer:
    """Serves the calls of any number of processes and threads on 127.0.0.1:`port`; 0 takes a free port.

    It answers as soon as it is made (OSError if the port is taken) and until `close`; it is a context manager.
    `app_engine` is what answers; tests may look at its `calls`.
    """

    def __init__(self, *, port: int = 0, app_engine: AppEngine | None = None) -> None:
        self.app_engine = app_engine or AppEngine()
        self._server = LoopbackServer(self._answer, port=port)
        self.port = self._server.port

    def flush(self) -> None:
        """Forget everything in memcache."""
        self.app_engine.flush_memcache()

    def close(self) -> None:
        """Stop answering; what memcache held is gone."""
        self._server.close()
        self.app_engine.close()

    def __enter__(self) -> ApiServer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _answer(self, request: Request) -> Response:
        if request.path == "/healthz" and request.method == "GET":
            return plain(http.HTTPStatus.OK, "ok")
        if request.path != RPC_PATH:
            return plain(http.HTTPStatus.NOT_FOUND, f"this is App Engine's API server; calls go to {RPC_PATH}")
        if request.method != "POST":
            return plain(http.HTTPStatus.METHOD_NOT_ALLOWED, "use POST")
        # The SDK always sends it, and a web page cannot without asking first.
        if request.headers.get(_ENDPOINT_HEADER) != _ENDPOINT:
            return plain(http.HTTPStatus.FORBIDDEN, f"a call needs the header {_ENDPOINT_HEADER}: {_ENDPOINT}")
        return Response(http.HTTPStatus.OK, self.app_engine.answer(request.body))


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or Ctrl-C."""
    parser = command_line(f"{__package__}.server", __doc__)
    parser.add_argument("--port", type=int, default=8089)
    parser.add_argument("--tasks", default="", metavar="HOST:PORT", help="the Cloud Tasks emulator behind taskqueue")
    options = parser.parse_args(arguments)
    return serve(
        lambda: _server(options.port, options.tasks),
        lambda server: f"API server on http://{LOOPBACK}:{server.port}",
        supervised=options.supervised,
    )


def _server(port: int, tasks_address: str) -> ApiServer:
    try:
        return ApiServer(port=port, app_engine=AppEngine(tasks_address=tasks_address))
    except OSError as error:
        raise ConfigError(f"port {port} is taken ({error.strerror}); choose another with --port") from error


if __name__ == "__main__":
    sys.exit(main())
