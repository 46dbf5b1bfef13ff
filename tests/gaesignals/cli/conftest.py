"""What the tests of the command line share: commands as a shell runs them, and a real worker on a port of its own."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from werkzeug.serving import WSGIRequestHandler, make_server

from gaesignals import Receivers, send_many
from gaesignals.cli.context import Context
from gaesignals.cli.main import build_parser, run
from gaesignals.cli.terminal import Terminal
from gaesignals.mailbox.box import Mailbox
from gaesignals.mailbox.current import use_mailbox
from gaesignals.tasks.memory import MemoryTasks
from gaesignals.testing import MemoryStore
from tests.worker.recording_queue import RecordingQueue
from worker.app import create_app
from worker.config import Environment, Settings


class Screen(io.StringIO):
    """A stream that a person sits at."""

    def isatty(self) -> bool:
        return True


@dataclass(frozen=True)
class Outcome:
    """What a command came to."""

    code: int
    output: str
    errors: str

    @property
    def json(self) -> Any:
        return json.loads(self.output)

    @property
    def lines(self) -> list[str]:
        return self.output.splitlines()


class Shell:
    """Runs commands: in a pipe, or at a terminal where `typed` is what a person types."""

    def __init__(self) -> None:
        self.environ: dict[str, str] = {}
        self.sleep: Any = None

    def __call__(self, *arguments: str, typed: str | None = None) -> Outcome:
        kind = io.StringIO if typed is None else Screen
        output, errors = kind(), kind()
        terminal = Terminal(input=kind(typed or ""), output=output, errors=errors)
        options = build_parser().parse_args(arguments)
        code = run(options, Context(terminal, self.environ, self.sleep))
        terminal.flush()
        return Outcome(code, output.getvalue(), errors.getvalue())


@pytest.fixture
def shell(monkeypatch: pytest.MonkeyPatch) -> Shell:
    monkeypatch.setenv("COLUMNS", "100")
    return Shell()


class Silent(WSGIRequestHandler):
    def log(self, type: str, message: str, *args: Any) -> None:
        pass


Serve = Callable[[Any], str]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Serve a WSGI app on a port of its own; return its URL."""
    stops: list[Callable[[], None]] = []

    def start(app: Any) -> str:
        server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=Silent)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        stops.extend([server.shutdown, thread.join, server.server_close])
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for stop in stops:
        stop()


class Worker:
    """A worker with some receivers, what it handled, and how to reach it."""

    def __init__(self, serve: Serve) -> None:
        self.handled: list[tuple[str, Any]] = []
        self.store = MemoryStore()
        self.queue = RecordingQueue()
        self.tasks = MemoryTasks()
        self.mailbox = Mailbox(self.store)
        settings = Settings(environment=Environment.LOCALDEV, project="shop-1", location="local")
        self.app = create_app(
            settings, receivers=self._receivers(), store=self.store, queue=self.queue, adder=self.tasks
        )
        self.url = serve(self.app)

    def send(self, name: str, data: Any = None, *, count: int = 1) -> list[str]:
        with use_mailbox(self.mailbox):
            return send_many([(name, data)] * count)

    def _receivers(self) -> Receivers:
        receivers = Receivers()
        receivers.connect("order_paid", lambda data: self.handled.append(("order_paid", data)), id="ship")
        receivers.connect("poison", self._fail, id="fail", reliable=True, max_attempts=1)
        for id_ in ("one", "two"):
            receivers.connect("twice", self._fail, id=id_, reliable=True, max_attempts=1)
        receivers.connect("again", self._fail, id="again", reliable=True, backoff_seconds=3600)
        receivers.connect("user_{user}_login", self._greet, id="greet")
        return receivers

    def _fail(self, data: Any) -> None:
        raise ValueError("never\x1b[31m works")

    def _greet(self, data: Any, *, user: str) -> None:
        self.handled.append((user, data))


@pytest.fixture
def worker(serve: Serve) -> Worker:
    return Worker(serve)


Ask = Callable[..., Outcome]


@pytest.fixture
def ask(shell: Shell, worker: Worker) -> Ask:
    """Run a command against the worker."""

    def ask(*arguments: str, typed: str | None = None) -> Outcome:
        return shell(*arguments, "--url", worker.url, typed=typed)

    return ask
