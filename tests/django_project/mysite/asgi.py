"""The application for an ASGI server."""

import os

from django.core.asgi import get_asgi_application

from gaesignals import AsyncSignalsMiddleware

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mysite.settings")
application = AsyncSignalsMiddleware(get_asgi_application())
