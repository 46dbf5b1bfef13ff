"""A small project with one application's worth of tasks."""

import django

SECRET_KEY = "of a test"
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "mysite.urls"
INSTALLED_APPS = ["mysite", *(["django_tasks"] if django.VERSION < (6,) else [])]
MIDDLEWARE: list[str] = []
USE_TZ = True
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}

TASKS = {
    "default": {
        "BACKEND": "gaesignals.integrations.django.SignalsBackend",
        "QUEUES": ["default", "mail"],
        "OPTIONS": {"wake": True, "backoff": [1], "max_attempts": 3},
    },
    "invoices": {
        "BACKEND": "gaesignals.integrations.django.SignalsBackend",
        "OPTIONS": {"wake": True, "durable": True},
    },
}
