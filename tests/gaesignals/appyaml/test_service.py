"""What the file of a service says about it."""

from __future__ import annotations

import pytest

from gaesignals.appyaml.errors import ConfigError
from gaesignals.appyaml.sdk import parse_service
from gaesignals.appyaml.service import Service

PYTHON = "runtime: python312\napp_engine_apis: true\n"


def service(text: str) -> Service:
    return Service("app.yaml", parse_service(text))


def test_the_app_is_that_of_its_server() -> None:
    assert service(f"{PYTHON}entrypoint: gunicorn -b :$PORT shop.main:app\n").app == "shop.main:app"
    assert service(f"{PYTHON}entrypoint: uvicorn main:app\n").app == "main:app"
    assert service(f"{PYTHON}entrypoint: python main.py\n").app is None


@pytest.mark.parametrize(("runtime", "is_python"), [("python312", True), ("python27", False), ("nodejs22", False)])
def test_python_is_python_3(runtime: str, is_python: bool) -> None:
    assert service(f"runtime: {runtime}\n").is_python is is_python


@pytest.mark.parametrize("value", [" [mail, memcache]", "\n- mail\n\n- memcache", "\n  - mail  # ours"])
def test_what_is_newer_than_the_sdk_is_no_error_and_moves_no_line(value: str) -> None:
    text = f"{PYTHON}app_engine_bundled_services:{value}\nservice: mail\n"
    assert service(text).name == "mail"
    line = text.count("\n") + 1
    with pytest.raises(ConfigError, match=f"line {line}: Unexpected attribute 'nonsense'"):
        service(f"{text}nonsense: 1\n")


def test_nothing_but_errors_is_said_of_a_file(recwarn: pytest.WarningsRecorder) -> None:
    service(f"{PYTHON}env_variables:\n  A: 1e3\n")
    assert not recwarn.list


def test_without_an_entrypoint_the_app_is_what_app_engine_would_serve() -> None:
    assert service(PYTHON).app == "main:app"


def test_it_has_a_name_and_variables() -> None:
    mail = service(f"{PYTHON}service: mail\nenv_variables:\n  SIZE: 3\n")
    assert (mail.name, mail.environ, mail.has_memcache) == ("mail", {"SIZE": "3"}, True)
    assert service("runtime: python312\n").name == "default"
    assert not service("runtime: python312\n").has_memcache


@pytest.mark.parametrize(("text", "is_flexible"), [("", False), ("env: standard", False), ("env: flex", True)])
def test_it_may_be_for_the_flexible_environment(text: str, is_flexible: bool) -> None:
    assert service(f"runtime: python312\n{text}\n").is_flexible is is_flexible
