"""The worker as gunicorn serves it: `gunicorn worker.main:app`.

This is where the environment is read, the log is set up and App Engine's services are connected.
"""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType

from google.appengine.api import wrap_wsgi_app
from google.appengine.api.runtime import set_shutdown_hook

from gaesignals.cloudlog import RequestTrace

from .app import Worker, create_app
from .log import log_to_stderr


def stop_with_the_process(worker: Worker) -> None:
    """Let deliveries end when App Engine stops the instance, or somebody the process."""
    # The SDK's middleware answers /_ah/stop on App Engine by itself; this is how it tells.
    set_shutdown_hook(worker.stopping.set)
    if threading.current_thread() is not threading.main_thread():
        return
    previous = signal.getsignal(signal.SIGTERM)

    def stop(number: int, frame: FrameType | None) -> None:
        worker.stopping.set()
        if callable(previous):
            previous(number, frame)
        elif previous is not signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)

    signal.signal(signal.SIGTERM, stop)


log_to_stderr(os.environ)
app = create_app()
stop_with_the_process(app)
app.wsgi_app = RequestTrace(wrap_wsgi_app(app.wsgi_app))  # type: ignore[method-assign]  # how the SDK documents it
