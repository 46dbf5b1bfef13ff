"""The application, inside what connects its requests to App Engine's services."""

import os

from django.core.wsgi import get_wsgi_application
from google.appengine.api import wrap_wsgi_app

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mysite.settings")
application = wrap_wsgi_app(get_wsgi_application())
