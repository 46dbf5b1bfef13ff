"""The default service as gunicorn serves it: `main:app`.

This is where the environment is read and App Engine's services are connected.
"""

from __future__ import annotations

import os

from google.appengine.api import wrap_wsgi_app

from shop.frontend import create_app

app = create_app(worker_url=os.environ.get("SHOP_WORKER_URL", ""))
app.wsgi_app = wrap_wsgi_app(app.wsgi_app)  # type: ignore[method-assign]  # how the SDK documents it
