"""Durable messages and a memcache that is lost, with real processes: `python -m tests.stress.durable`.

While they are sent and delivered memcache is emptied, and later the process that it lives in is killed. What `send`
returned for has to be handled all the same, some seconds later: the safety tasks come after five of them.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import shutil
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

from google.appengine.api import memcache

from devserver.appengine.client import connected
from gaesignals import SendError, Signal, send_many
from gaesignals.mailbox.box import Mailbox
from gaesignals.mailbox.current import use_mailbox_everywhere
from gaesignals.stores.app_engine import MemcacheStore
from gaesignals.tasks.app_engine import AppEngineTasks
from gaesignals.tasks.queues import Queues

from .cloud import API_SERVER, ROOT, LocalCloud
from .records import Notebook, read

SAFETY_SECONDS = 5
BATCH = 20
NAMES = ("invoice_1", "invoice_2", "invoice_3")
_QUEUES = f"""queue:
- name: signals
  rate: 100/s
  bucket_size: 100
  max_concurrent_requests: 6
  retry_parameters: {{task_retry_limit: 7, task_age_limit: 30m, min_backoff_seconds: 1, max_backoff_seconds: 5}}
- name: signals-safety
  rate: 400/s
  bucket_size: 100
  max_concurrent_requests: 6
  retry_parameters: {{min_backoff_seconds: {SAFETY_SECONDS}, max_backoff_seconds: {2 * SAFETY_SECONDS}}}
- name: signals-later
  rate: 400/s
  bucket_size: 100
  max_concurrent_requests: 6
  retry_parameters: {{min_backoff_seconds: 1, max_backoff_seconds: 5}}
"""


class NotHandledError(Exception):
    """Messages were not handled in time."""


@dataclass(frozen=True)
class Outcome:
    """What a run came to: messages that `send` returned for, that it refused, that were handled, once or more often.

    `brought` of them came back by their tasks, `seconds` after the last one was sent all were handled.
    """

    acknowledged: int
    refused: int
    handled: int
    repeated: int
    brought: int
    seconds: float

    def __str__(self) -> str:
        return (
            f"{self.handled} of {self.acknowledged} messages handled {self.seconds:.0f} s after the last was sent; "
            f"{self.brought} brought back, {self.repeated} handled more than once, {self.refused} refused meanwhile"
        )


def _project(directory: Path) -> Path:
    """A project with queues that try again soon."""
    project = directory / "project"
    project.mkdir()
    shutil.copy(ROOT / "cron.yaml", project)
    (project / "queue.yaml").write_text(_QUEUES)
    return project


@contextlib.contextmanager
def _sender(cloud: LocalCloud) -> Iterator[None]:
    """Let this process send as an instance of a service does."""
    # By this name tasks find the worker's service; a request has it from App Engine's front end.
    hostname = {"DEFAULT_VERSION_HOSTNAME": f"localhost:{cloud.port('Frontend')}"}
    with mock.patch.dict(os.environ, hostname), connected(cloud.port("App Engine")):
        mailbox = Mailbox(
            MemcacheStore(),
            tasks=AppEngineTasks(service="worker"),
            queues=Queues(safety_seconds=SAFETY_SECONDS),
        )
        with use_mailbox_everywhere(mailbox):
            yield


def _send(notebook: Notebook, count: int) -> int:
    """Send some; return how many `send_many` returned for, all or none."""
    pairs = [
        (Signal(NAMES[number % len(NAMES)], durable=True), f"invoice/{uuid.uuid4().hex}") for number in range(count)
    ]
    try:
        send_many(pairs)
    except SendError:
        return 0
    notebook.write(*(key for _, key in pairs))
    return count


def run(*, messages: int, within_seconds: float) -> Outcome:
    """Send so many, with both faults. Raises `NotHandledError` for what is not handled so long after the last one."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        cloud = LocalCloud(
            directory, str(_project(directory)), SIGNALS_SAFETY_SECONDS=str(SAFETY_SECONDS), SIGNALS_LEASE_SECONDS="5"
        )
        try:
            with _sender(cloud):
                refused = _send_amid_faults(cloud, Notebook("acknowledged", name), messages)
            return _wait(cloud, directory, refused, within_seconds)
        finally:
            cloud.stop()


def _send_amid_faults(cloud: LocalCloud, notebook: Notebook, messages: int) -> int:
    """Send until so many are taken; return how many were not, while nobody answered.

    Nothing is delivered before memcache is emptied, so that all that was sent until then is lost: the pause is in
    memcache as well, and goes with it.
    """
    assert cloud.post("/admin/pause", {"names": NAMES}) == {"paused": len(NAMES)}
    taken = refused = 0
    has_flushed = has_killed = False
    give_up_at = time.monotonic() + 600
    while taken < messages:
        sent = _send(notebook, BATCH)
        taken, refused = taken + sent, refused + BATCH - sent
        if not sent:
            time.sleep(0.2)
        if not has_flushed and taken >= messages // 2:
            has_flushed = memcache.flush_all()
        if not has_killed and taken >= messages * 3 // 4:
            has_killed = cloud.kill(API_SERVER)
        if time.monotonic() > give_up_at:
            raise NotHandledError(f"the cloud took {taken} of {messages} messages")
    assert has_flushed
    assert has_killed
    return refused


def _wait(cloud: LocalCloud, directory: Path, refused: int, within_seconds: float) -> Outcome:
    """Wait until all is handled."""
    acknowledged, started = read(directory, "acknowledged"), time.monotonic()
    while missing := acknowledged.keys() - read(directory, "handled").keys():
        if time.monotonic() - started > within_seconds:
            raise NotHandledError(f"{len(missing)} of {len(acknowledged)} messages are not handled: {cloud.status()}")
        time.sleep(0.2)
    handled = read(directory, "handled")
    return Outcome(
        acknowledged=len(acknowledged),
        refused=refused,
        handled=len(acknowledged.keys() & handled.keys()),
        repeated=sum(count > 1 for count in handled.values()),
        brought=cloud.said("durable messages were brought back"),
        seconds=time.monotonic() - started,
    )


def main() -> int:
    """1 if a message is not handled in time."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--messages", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=720.0, help="how long to wait for the last one")
    options = parser.parse_args()
    # What this process cannot send while nobody answers is counted.
    logging.disable()
    try:
        print(run(messages=options.messages, within_seconds=options.seconds))
    except NotHandledError as error:
        print(error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
