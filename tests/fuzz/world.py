"""A store with everything in it that can be stored, and a worker that does all it can do with that."""

from __future__ import annotations

import contextlib
import logging
import random
import time
from collections.abc import Iterator
from functools import cache

from flask.testing import FlaskClient

from gaesignals import Receivers, Signal, deliver, send_many
from gaesignals.errors import SignalsError
from gaesignals.mailbox.box import Mailbox
from gaesignals.mailbox.current import use_mailbox
from gaesignals.testing import Call, MemoryStore
from tests.worker.recording_queue import RecordingQueue
from worker.access.keys import Fetched, KeysError
from worker.app import Worker, create_app
from worker.config import Environment, Settings

NAMES = ("few", "many", "large", "failing", "dying", "dead", "paused", "wide", "weak", "batch")
CRON = {"X-Appengine-Cron": "true"}
TASK = {"X-AppEngine-QueueName": "signals"}
# A person's browser, which follows the links of a page.
PAGES = (
    "/admin/",
    "/admin/status",
    "/admin/dead",
    "/admin/deliveries",
    "/admin/?show=unmatched",
    "/admin/receivers",
    "/admin/history?window=fortnight",
    "/admin/history?window=day&receiver=weak",
    "/metrics",
)
# The store's own limit of a value: what is planted has to fit.
MAX_BYTES = 900_000


class Killed(BaseException):
    """The process dies here."""


class Handlers:
    """Receivers that count what they are run for."""

    def __init__(self) -> None:
        self.runs = 0
        self.receivers = Receivers()
        connect = self.receivers.connect
        for name in ("few", "many", "large", "dying", "paused", "wide"):
            connect(name, self._run, id=name, reliable=True)
        connect("weak", self._run, id="weak")
        connect("batch", self._run_all, id="batch", reliable=True, batch=100)
        connect("failing", self._fail, id="failing", reliable=True, backoff_seconds=1)
        connect("dead", self._fail, id="dead", reliable=True, max_attempts=1)

    def _run(self, data: object) -> None:
        self.runs += 1

    def _run_all(self, messages: list[object]) -> None:
        self.runs += len(messages)

    def _fail(self, data: object) -> None:
        self.runs += 1
        raise ValueError("no tax number")


@cache
def stored() -> dict[bytes, bytes]:
    """What a busy store holds: every kind of value, under its key."""
    store = MemoryStore()
    mailbox = Mailbox(store, clock=_a_while_ago, random=random.Random(7), sleep=lambda _: None)
    handlers = Handlers()
    with use_mailbox(mailbox):
        for name in NAMES:
            send_many([(name, {"number": number, "text": "x" * 20}) for number in range(5)])
        send_many([("many", {"number": number}) for number in range(300)])
        for _ in range(40):
            Signal("few").send((1, {2, 3}, None))
        for _ in range(3):
            Signal("large").send("y" * 5000)
        deliver(handlers.receivers, names=["failing", "dead"])
        _die_at_the_acknowledgement(store, handlers.receivers)
    worker, _ = _worker(store, handlers.receivers)
    client = worker.test_client()
    assert client.post("/admin/pause", data={"names": "paused"}).status_code < 400
    # Who looks has the worker write what it has counted.
    assert client.get("/admin/status").status_code == 200
    _widen(store)
    values = {key: store.raw(key) for key in store.keys()}  # noqa: SIM118 - a method, of no dict
    return {key: value for key, value in values.items() if value is not None}


def _a_while_ago() -> float:
    """So that leases have run out by now, and retries are due."""
    return time.time() - 2 * 3600


def _die_at_the_acknowledgement(store: MemoryStore, receivers: Receivers) -> None:
    """Leave a lease behind."""
    writes = 0

    def die(call: Call) -> None:
        nonlocal writes
        writes += call.verb == "write"
        if writes == 2:
            raise Killed

    store.before = die
    with contextlib.suppress(Killed):
        deliver(receivers, names=["dying"])
    store.before = None


def _widen(store: MemoryStore) -> None:
    """Have a sender lose the compare-and-set to others until its name has lanes."""
    other = Mailbox(store, clock=_a_while_ago, random=random.Random(8), sleep=lambda _: None)
    loser = Mailbox(store, clock=_a_while_ago, random=random.Random(9), sleep=lambda _: None)
    left = iter(range(2))

    def come_between(call: Call) -> None:
        if call.verb == "write" and next(left, None) is not None:
            other.send([("wide", b"\xf6")])

    for _ in range(4):
        store.before = come_between
        loser.send([("wide", b"\xf6")])
        store.before = None


def _no_keys(url: str) -> Fetched:
    raise KeysError("the tests have no network")


def _worker(store: MemoryStore, receivers: Receivers) -> tuple[Worker, RecordingQueue]:
    queue = RecordingQueue()
    settings = Settings(environment=Environment.LOCALDEV, project="shop-1", location="local")
    return create_app(settings, receivers=receivers, store=store, queue=queue, fetch_keys=_no_keys), queue


class Failures(logging.Handler):
    """What the worker logs with a traceback that is nobody's handler's."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        if error is not None and str(error) != "no tax number":
            self.found.append(logging.Formatter().format(record))


class World:
    """A worker over planted values, and what it cost to do everything with them once."""

    def __init__(self, planted: dict[bytes, bytes], chance: random.Random) -> None:
        self.store = MemoryStore()
        self._chance = chance
        for key, value in planted.items():
            self.store.set_raw(key, value)
        self.stored_bytes = sum(map(len, planted.values()))
        self.handlers = Handlers()
        self.troubles: list[str] = []
        self._worker, self._queue = _worker(self.store, self.handlers.receivers)
        self._client = self._worker.test_client()

    @property
    def received_bytes(self) -> int:
        return sum(call.received_bytes for call in self.store.calls)

    def do_everything(self) -> None:
        """Look, deliver, fan out, operate and send, as people, cron, tasks and senders do."""
        with self._watched():
            self._look()
            self._call("GET", "/cron/drain", headers=CRON)
            for _ in range(2):
                self._call("POST", "/tasks/deliver", json={"names": list(NAMES)}, headers=TASK)
            self._plain_delivery()
            for action in ("pause", "resume", "dead/requeue", "dead/drop", "discard", "drain"):
                self._call("POST", f"/admin/{action}", json={"names": list(NAMES)})
            self._change_retries()
            self._send()
            self._look()

    def _look(self) -> None:
        pages = [f"/admin/{page}?name={self._chance.choice(NAMES)}" for page in ("name", "messages", "dead")]
        for page in (*PAGES, *pages):
            self._call("GET", page, headers={"Accept": "text/html"})
        letters = self._client.get("/admin/dead?names=dead").get_json(silent=True)
        for letter in (letters or {}).get("letters", [])[:2]:
            self._call("GET", "/admin/dead/payload", query_string={"name": "dead", "id": letter.get("id", "")})

    def _change_retries(self) -> None:
        for action, name in zip(("run", "drop", "kill"), self._chance.sample(NAMES, 3), strict=True):
            found = self._client.get("/admin/messages", query_string={"name": name}).get_json(silent=True)
            ids = [str(each.get("id")) for each in (found or {}).get("messages", [])[:3]]
            self._call("POST", f"/admin/messages/{action}", json={"name": name, "ids": ids or ["x"]})

    def _call(self, method: str, path: str, **options: object) -> None:
        client: FlaskClient = self._client
        answer = client.open(path, method=method, **options)  # type: ignore[arg-type]  # any options of the client
        # 503 is an answer of ours: memcache or the queue is in trouble.
        if answer.status_code == 500:
            self.troubles.append(f"{method} {path}: 500")

    def _plain_delivery(self) -> None:
        """As an application's own delivery and sends, without the worker."""
        mailbox: Mailbox = self._worker.extensions["gaesignals"]
        with use_mailbox(mailbox), contextlib.suppress(SignalsError):
            deliver(self.handlers.receivers)

    def _send(self) -> None:
        mailbox: Mailbox = self._worker.extensions["gaesignals"]
        with use_mailbox(mailbox):
            for name in NAMES:
                with contextlib.suppress(SignalsError):
                    Signal(name).send("new")

    @contextlib.contextmanager
    def _watched(self) -> Iterator[None]:
        failures = Failures()
        loggers = [logging.getLogger(name) for name in ("gaesignals", self._worker.name)]
        for logger in loggers:
            logger.addHandler(failures)
        try:
            yield
        finally:
            for logger in loggers:
                logger.removeHandler(failures)
            self.troubles += failures.found
