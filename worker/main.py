"""The worker as gunicorn serves it: `gunicorn worker.main:app`.

This is where the environment is read, the log is set up and App Engine's services are connected.
"""

from __future__ import annotations

import atexit
import os

from google.appengine.api import wrap_wsgi_app
from google.appengine.api.runtime import set_shutdown_hook

from gaesignals.cloudlog import RequestTrace
from gaesignals.stores.opening import STORE_VARIABLE, is_memcache

from .app import create_app
from .log import log_to_stderr

app = create_app()
# Importing the receivers came first, so that an application can set up its log in their module.
log_to_stderr(os.environ)
# The SDK's middleware answers /_ah/stop on App Engine by itself; this is how it tells.
set_shutdown_hook(app.stop)
app.stopping.on_signal()
if not is_memcache(os.environ.get(STORE_VARIABLE, "")):
    # App Engine's memcache is called inside requests alone; another store takes what is left when the process ends.
    atexit.register(app.stop)
app.wsgi_app = RequestTrace(wrap_wsgi_app(app.wsgi_app))  # type: ignore[method-assign]  # how the SDK documents it
