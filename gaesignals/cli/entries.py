"""What a worker needs in the files of App Engine: its own yaml file, a cron job and a queue."""

from __future__ import annotations

import sys
from collections.abc import Sequence

DRAIN_PATH = "/cron/drain"
# The name of a signal follows.
SEND_PATH = "/cron/send/"
DEFAULT_QUEUE, SAFETY_QUEUE, LATER_QUEUE = "signals", "signals-safety", "signals-later"
ENTRYPOINT = (
    "gunicorn --bind :$PORT --workers 1 --threads 8 --timeout 0 --forwarder-headers= gaesignals_worker.main:app"
)
# What App Engine has and this package is tested on.
RUNTIMES = (10, 13)

_RETRIES = (
    "  retry_parameters:\n"
    "    task_retry_limit: 7\n"
    "    task_age_limit: 30m\n"
    "    min_backoff_seconds: 5\n"
    "    max_backoff_seconds: 300\n"
    "    max_doublings: 5\n"
)


def worker_yaml(
    receivers: str, location: str, *, runtime: str = "", service: str = "worker", file: str = "worker.yaml"
) -> str:
    """The text of a worker.yaml; without a `runtime` it is the one of this Python."""
    variables = {"SIGNALS_RECEIVERS": receivers, **({"SIGNALS_SERVICE": service} if service != "worker" else {})}
    ours = "".join(f"  {name}: {value}\n" for name, value in variables.items())
    return f"""\
# The service that delivers signals: `gcloud app deploy {file}`. cron.yaml and queue.yaml are deployed apart.
service: {service}
runtime: {runtime or runtime_of(sys.version_info[:2])}
app_engine_apis: true

# There is no --timeout: a task may take minutes, and App Engine has deadlines of its own.
entrypoint: {ENTRYPOINT}

# Basic scaling lets a handler take its time (24 hours, not 10 minutes). Threads times instances should be no less than
# max_concurrent_requests of the queue.
instance_class: B2
basic_scaling:
  max_instances: 5
  idle_timeout: 10m

env_variables:
  # package.module:name of your Receivers; the module is imported by the worker.
{ours}  # The region of the queue: `gcloud app describe` prints it as locationId (us-central is us-central1 here).
  SIGNALS_LOCATION: {location or '""'}

# No `login:` on /admin: the worker checks every caller by itself, and scripts have to reach it.
handlers:
- url: /admin/.*
  script: auto
  secure: always
- url: /metrics
  script: auto
  secure: always
- url: /.*
  script: auto
"""


def runtime_of(version: Sequence[int]) -> str:
    """App Engine's runtime for this version of Python, or the nearest that is supported."""
    least, most = RUNTIMES
    return f"python3{min(max(version[1], least), most)}"


def cron_entry(service: str) -> str:
    """The entry that a worker of this name needs."""
    return (
        "- description: hand waiting signals to the worker\n"
        f"  url: {DRAIN_PATH}\n"
        "  schedule: every 1 minutes\n"
        f"  target: {service}\n"
    )


def queue_entry() -> str:
    """The entries of the queues that suit the worker that `init` writes."""
    ours = f"- name: {DEFAULT_QUEUE}\n  rate: 50/s\n  bucket_size: 100\n  max_concurrent_requests: 20\n{_RETRIES}"
    return ours + _unlimited(SAFETY_QUEUE, "600", "3600") + _unlimited(LATER_QUEUE, "1", "300")


def _unlimited(name: str, least_seconds: str, most_seconds: str) -> str:
    """A queue whose tasks are the only copies: none is given up."""
    return (
        f"- name: {name}\n"
        "  rate: 100/s\n"
        "  bucket_size: 100\n"
        "  max_concurrent_requests: 6\n"
        "  retry_parameters:\n"
        f"    min_backoff_seconds: {least_seconds}\n"
        f"    max_backoff_seconds: {most_seconds}\n"
    )
