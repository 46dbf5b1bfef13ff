"""The worker's Flask app, put together from its parts."""

from __future__ import annotations

import time
from collections.abc import Iterable
from datetime import datetime, timezone
from typing import Any

from flask import Flask, jsonify, request
from flask.json.provider import DefaultJSONProvider
from werkzeug.wrappers import Response

from gaesignals.errors import LeftAloneError, StoreError
from gaesignals.mailbox.box import Mailbox
from gaesignals.mailbox.current import open_mailbox, short_instance
from gaesignals.mailbox.dead import DeadLetters
from gaesignals.mailbox.history import History
from gaesignals.mailbox.index import Index
from gaesignals.mailbox.pause import Pauses
from gaesignals.mailbox.repair import repair
from gaesignals.observing import Observer, Observers
from gaesignals.receivers import Receivers
from gaesignals.stores.client import Connection
from gaesignals.stores.store import Store
from gaesignals.tasks.queue import Tasks
from gaesignals.telemetry.spans import Telemetry

from . import cron, rescue, sending, tasks
from .access.doors import Door, Doorkeeper, door
from .access.gate import Gate
from .access.keys import Fetch, fetch_keys
from .admin import metrics
from .admin import routes as admin
from .admin.archive import Archive
from .admin.inspector import Inspector
from .answer import answer_errors, refuse
from .config import Settings
from .counting import Counting
from .deliveries import Deliveries
from .dispatcher import Dispatch, Dispatcher
from .ending import Ending
from .health import HealthCheck
from .labels import Labels
from .loading import load_receivers, read_environment
from .log import enable_own_loggers
from .pauses import KnownPauses
from .queue import CloudTasksQueue, TaskQueue, cloud_tasks
from .recorder import Recorder
from .safety import SafetyCheck
from .sampling import Sampling
from .travel import Travel
from .version import Version
from .visible import show_text
from .working import Working

MAX_BODY_BYTES = 2**20
# As long as a round, for others wait for its place: a long backlog has all places of the queue, and whatever else is
# sent meanwhile has the next one that becomes free. What is left goes to the end of the line.
TASK_SECONDS = 10.0
# What scripts and proxies wait for an answer is often a minute.
WAIT_SECONDS = 50.0


class Worker(Flask):
    """The app. `stopping` is set when the process is about to end; deliveries then end after the current handler."""

    def __init__(self, import_name: str, doorkeeper: Doorkeeper, **options: Any) -> None:
        super().__init__(import_name, **options)
        self.stopping = Ending()
        self.recorder: Recorder | None = None
        self._gate = Gate(doorkeeper)
        doorkeeper.guard(self)

    def stop(self) -> None:
        """This process is about to end: deliveries end, and what it has counted is written."""
        self.stopping.set()
        if self.recorder is not None:
            self.recorder.write()

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        # Outermost, whatever `wsgi_app` is wrapped with.
        return self._gate.answer(super().__call__, environ, start_response)


def create_app(
    settings: Settings | None = None,
    *,
    receivers: Receivers | None = None,
    store: Store | None = None,
    queue: TaskQueue | None = None,
    adder: Tasks | None = None,
    task_seconds: float = TASK_SECONDS,
    wait_seconds: float = WAIT_SECONDS,
    fetch_keys: Fetch = fetch_keys,
) -> Worker:
    """Make the worker's app, with the store that the settings name and Cloud Tasks unless others are given.

    `settings` come from the environment if None. A task delivers for `task_seconds`, a manual drain that waits for
    `wait_seconds`. `adder` adds and deletes the tasks of messages; where a `queue` is given and it is not, there are
    none. `fetch_keys` gets the keys that tokens are checked with. Whoever wants to observe its mailbox finds that as
    `app.extensions["gaesignals"]`. Raises `SettingsError` if the settings or the receivers they name cannot be used.
    """
    if settings is None:
        settings, receivers = read_environment(receivers=receivers, need_queue=queue is None)
    elif receivers is None:
        receivers = load_receivers(settings.receivers)
    enable_own_loggers()
    labels = Labels(receivers)
    counting, working = Counting(labels), Working(receivers)
    if queue is None:
        client = cloud_tasks(settings)
        queue, adder = CloudTasksQueue(settings, client), adder or client
    mailbox = _mailbox(settings, store, Observers([Telemetry(), counting, working]), adder)
    index = Index(mailbox)
    pauses = KnownPauses(Pauses(mailbox))
    travel = Travel(receivers, own=settings.queue, lease_seconds=settings.lease_seconds)
    dispatcher = Dispatcher(
        index=index,
        receivers=receivers,
        queue=queue,
        redispatch_seconds=settings.redispatch_seconds,
        travel=travel,
        paused=pauses.names,
    )
    version = Version.of(settings, started_at=datetime.now(timezone.utc))
    deliveries = Deliveries(version.instance)
    doorkeeper = Doorkeeper(settings, queues=travel.queues(), fetch_keys=fetch_keys)
    app = Worker(__package__ or __name__, doorkeeper, static_url_path="/admin/static")
    app.extensions["gaesignals"] = mailbox
    # A connection of its own: what it calls is not a part of any delivery.
    history = History(Connection(mailbox.store, clock=mailbox.clock))
    recorder = app.recorder = Recorder(
        history,
        counting=counting,
        working=working,
        deliveries=deliveries,
        labels=labels,
        version=version,
        is_stopping=app.stopping.is_set,
    )
    working.between_rounds = recorder.write_if_due
    deliverer = tasks.Deliverer(
        receivers=receivers,
        mailbox=mailbox,
        index=index,
        dispatcher=dispatcher,
        should_stop=app.stopping.is_set,
        lease_seconds=settings.lease_seconds,
        pauses=pauses,
        deliveries=deliveries,
    )
    dead_letters = DeadLetters(mailbox)
    health = HealthCheck(mailbox, queue, cron_seconds=settings.cron_seconds)
    archive = Archive(history, recorder, labels, receivers)
    inspector = Inspector(
        mailbox=mailbox,
        index=index,
        dead_letters=dead_letters,
        receivers=receivers,
        pauses=pauses,
        archive=archive,
        health=health,
        version=version,
        safety=SafetyCheck(adder, settings.queues),
    )
    repairs = cron.Periodic(
        lambda: repair(mailbox, receivers.literal_names()), seconds=cron.REPAIR_SECONDS, clock=time.monotonic
    )
    sampling = Sampling(mailbox, receivers, counting, clock=time.monotonic)

    def note(dispatch: Dispatch) -> None:
        health.note_fan_out()
        sampling.sample(dispatch)

    app.register_blueprint(cron.blueprint(dispatcher, repairs, mailbox, note=note))
    app.register_blueprint(tasks.blueprint(deliverer, dispatcher, travel, seconds=task_seconds, clock=mailbox.clock))
    app.register_blueprint(rescue.blueprint(mailbox, receivers))
    app.register_blueprint(sending.blueprint(mailbox))
    desk = admin.Desk(
        mailbox, receivers, labels, inspector, dispatcher, deliverer, dead_letters, pauses, wait_seconds, settings
    )
    app.register_blueprint(admin.blueprint(desk))
    app.register_blueprint(metrics.blueprint(inspector, archive, labels))
    _configure(app)
    _add_life_cycle(app)
    return app


def _mailbox(settings: Settings, store: Store | None, observer: Observer, adder: Tasks | None) -> Mailbox:
    if store is None:
        return open_mailbox(
            store=settings.store,
            namespace=settings.namespace,
            deadline_seconds=settings.memcache_seconds,
            observer=observer,
            tasks=adder,
            queues=settings.queues,
        )
    holder = short_instance(settings.instance)
    return Mailbox(store, observer=observer, holder=holder, tasks=adder, queues=settings.queues)


def _configure(app: Worker) -> None:
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES
    app.config["MAX_FORM_MEMORY_SIZE"] = MAX_BODY_BYTES
    # Answers are read by people too: fields come in the order of their meaning.
    provider = DefaultJSONProvider(app)
    provider.sort_keys = False
    app.json = provider
    app.jinja_env.trim_blocks = True
    app.jinja_env.lstrip_blocks = True
    # A style sheet and an icon: error pages need them too.
    door(Door.ANYONE)(app.view_functions["static"])
    answer_errors(app)
    show_text(app)

    @app.after_request
    def write_history(response: Response) -> Response:
        """Once a minute, when what cron or a queue wanted is done; a person who looks writes anyway."""
        if app.recorder is not None and request.blueprint in ("cron", "tasks", "rescue", "sending"):
            app.recorder.write_if_due()
        return response

    @app.errorhandler(StoreError)
    def store_failed(error: StoreError) -> Response:
        app.logger.error("the store failed", extra={"detail": str(error)})
        return refuse(503)

    @app.errorhandler(LeftAloneError)
    def left_alone(error: LeftAloneError) -> Response:
        app.logger.error("a later version has stored what was asked for", extra={"detail": str(error)})
        return refuse(503, f"nothing was done: {error}", heading="This version leaves that alone.")


def _add_life_cycle(app: Worker) -> None:
    """The routes by which App Engine starts, watches and stops an instance."""

    @app.get("/healthz")
    @app.get("/_ah/warmup")
    @app.get("/_ah/start")
    @door(Door.ANYONE)
    def is_up() -> Response:
        """The app runs, so its settings were read and its receivers imported."""
        return jsonify({"status": "ok"})

    @app.get("/_ah/stop")
    @door(Door.PLATFORM)
    def stop() -> Response:
        app.stop()
        return jsonify({"status": "stopping"})
