"""What the files of a source root say about its services."""

from __future__ import annotations

from pathlib import Path

import pytest

from devserver.errors import ConfigError
from devserver.project.services import load_services

PYTHON = "runtime: python312\napp_engine_apis: true\n"


def app_of(tmp_path: Path, entrypoint: str) -> str:
    (tmp_path / "app.yaml").write_text(f"{PYTHON}entrypoint: {entrypoint}\n")
    return load_services(tmp_path).services["default"].app


@pytest.mark.parametrize(
    ("entrypoint", "app"),
    [
        ("gunicorn -b :$PORT shop.main:app", "shop.main:app"),
        ("exec gunicorn --workers 1 --threads 8 --timeout 0 main", "main:application"),
        ("gunicorn 'main:make()' -b :$PORT", "main:make()"),
        ("/env/bin/gunicorn -w 2 main:app", "main:app"),
        ('""', "main:app"),
    ],
)
def test_the_app_is_found_in_the_entrypoint(tmp_path: Path, entrypoint: str, app: str) -> None:
    assert app_of(tmp_path, entrypoint) == app


def test_a_service_without_an_entrypoint_serves_what_app_engine_would(tmp_path: Path) -> None:
    (tmp_path / "app.yaml").write_text(PYTHON)
    assert load_services(tmp_path).services["default"].app == "main:app"


def test_services_have_their_names_and_variables(tmp_path: Path) -> None:
    (tmp_path / "app.yaml").write_text(PYTHON)
    (tmp_path / "mail.yml").write_text(f"{PYTHON}service: mail\nenv_variables:\n  SIZE: 3\n")
    services = load_services(tmp_path).services
    assert list(services) == ["default", "mail"]
    assert services["mail"].variables == {"SIZE": "3"}


@pytest.mark.parametrize("text", ["cron:\n- url: /a\n", "", "services:\n  db: {image: x}\n", "{{ template }}"])
def test_other_files_are_left_alone(tmp_path: Path, text: str) -> None:
    (tmp_path / "other.yaml").write_text(text)
    assert load_services(tmp_path).services == {}


@pytest.mark.parametrize(
    ("text", "notice"),
    [
        ("runtime: nodejs20\n", "its runtime is nodejs20"),
        ("runtime: python\nenv: flex\n", "it is for the flexible environment"),
        (f"{PYTHON}entrypoint: uvicorn main:app\n", "its entrypoint is not gunicorn with an app: uvicorn main:app"),
        (f"{PYTHON}entrypoint: gunicorn\n", "its entrypoint is not gunicorn with an app"),
    ],
)
def test_what_cannot_be_served_here_is_a_notice(tmp_path: Path, text: str, notice: str) -> None:
    (tmp_path / "other.yaml").write_text(text)
    configs = load_services(tmp_path)
    assert configs.services == {}
    assert configs.notices[0].startswith(f"other.yaml: {notice}")


def test_of_several_files_for_a_service_the_plainest_counts(tmp_path: Path) -> None:
    for name, app in ("app-staging", "staging:app"), ("app", "main:app"), ("a", "a:app"):
        (tmp_path / f"{name}.yaml").write_text(f"{PYTHON}entrypoint: gunicorn {app}\n")
    configs = load_services(tmp_path)
    assert configs.services["default"].app == "main:app"
    assert configs.notices[1] == "app-staging.yaml: the service default is started as app.yaml says"


def test_a_service_that_would_have_no_memcache_on_app_engine_is_a_notice(tmp_path: Path) -> None:
    (tmp_path / "app.yaml").write_text("runtime: python312\n")
    configs = load_services(tmp_path)
    assert list(configs.services) == ["default"]
    assert configs.notices == ("app.yaml: on App Engine it has no memcache; add `app_engine_apis: true`",)
    (tmp_path / "app.yaml").write_text(PYTHON)
    assert load_services(tmp_path).notices == ()


@pytest.mark.parametrize("text", ["runtime: [", "runtime: python312\nhandler: x\n", "runtime: \xff"])
def test_a_broken_file_is_one_line_that_names_it(tmp_path: Path, text: str) -> None:
    (tmp_path / "app.yaml").write_text(text, encoding="latin-1")
    with pytest.raises(ConfigError) as error:
        load_services(tmp_path)
    assert "app.yaml" in str(error.value)
    assert "\n" not in str(error.value)
