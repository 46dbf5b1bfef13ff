"""What uvicorn serves, by its command line."""

from __future__ import annotations

import pytest

from gaesignals.appyaml.uvicorn import app_of


@pytest.mark.parametrize(
    ("command", "app"),
    [
        ("uvicorn main:app", "main:app"),
        ("uvicorn --host 0.0.0.0 --port $PORT shop.web:application --workers 2", "shop.web:application"),
        ("python -m uvicorn main:app.inner", "main:app.inner"),
        ("/venv/bin/uvicorn main:app", "main:app"),
        ("uvicorn --factory main:make", None),
        ("uvicorn", None),
        ("hypercorn main:app", None),
        ('uvicorn "main:app', None),
        ("", None),
    ],
)
def test_the_app(command: str, app: str | None) -> None:
    assert app_of(command) == app
