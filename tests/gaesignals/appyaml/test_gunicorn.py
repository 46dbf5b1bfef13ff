"""What a command line starts gunicorn with."""

from __future__ import annotations

from pathlib import Path

import pytest
from gunicorn.config import KNOWN_SETTINGS

from gaesignals.appyaml.gunicorn import FLAGS, Gunicorn


def gunicorn(directory: Path, command: str, **environ: str) -> Gunicorn | None:
    return Gunicorn.parse(command, directory=directory, environ=environ)


@pytest.mark.parametrize(
    ("command", "app"),
    [
        ("gunicorn -b :$PORT shop.main:app", "shop.main:app"),
        ("gunicorn main:app --bind :$PORT -k gthread", "main:app"),
        ("gunicorn main:app -c gunicorn.conf.py --log-level info --name web", "main:app"),
        ("gunicorn main:app --worker-class=gthread -kgthread --preload", "main:app"),
        ("gunicorn --preload main:app --reload", "main:app"),
        ("gunicorn -w2 -t=0 -- main:app", "main:app"),
        ("exec gunicorn --workers 1 --threads 8 --timeout 0 main", "main:application"),
        ("gunicorn 'main:make()' -b :$PORT", "main:make()"),
        ("/env/bin/gunicorn -w 2 main:app", "main:app"),
        ("python -m gunicorn main:app", "main:app"),
        ("X=1 opentelemetry-instrument gunicorn main:app", "main:app"),
        ("python manage.py migrate && exec gunicorn main:app; true", "main:app"),
        ("gunicorn", None),
    ],
)
def test_the_app_is_the_first_word_that_belongs_to_no_option(tmp_path: Path, command: str, app: str | None) -> None:
    found = gunicorn(tmp_path, command)
    assert found is not None
    assert found.app == app


@pytest.mark.parametrize("command", ["uvicorn main:app --port $PORT", "python main.py", "", "'"])
def test_another_server_is_none(tmp_path: Path, command: str) -> None:
    assert gunicorn(tmp_path, command) is None


def test_options_without_a_value_are_those_of_the_real_gunicorn() -> None:
    flags = {
        option
        for setting in KNOWN_SETTINGS
        for option in setting.cli or ()
        if setting.action in ("store_true", "store_const", "store_false")
    }
    assert flags <= FLAGS


def test_the_command_line_counts_more_than_the_variable_and_that_more_than_the_file(tmp_path: Path) -> None:
    (tmp_path / "g.py").write_text("threads = 2\nworkers = 3\ntimeout = 4\nworker_class = 'gthread'\n")
    found = gunicorn(tmp_path, "gunicorn -c g.py --threads 8 main:app", GUNICORN_CMD_ARGS="--workers 6 --threads 7")
    assert found is not None
    assert [found.number(name) for name in ("threads", "workers", "timeout")] == [8, 6, 4]
    assert found.setting("worker_class") == "gthread"


@pytest.mark.parametrize("option", ["", "-c file:gunicorn.conf.py", "-c python:gunicorn.conf"])
def test_the_file_is_found_as_gunicorn_finds_it(tmp_path: Path, option: str) -> None:
    (tmp_path / "gunicorn").mkdir()
    (tmp_path / "gunicorn/conf.py").write_text("threads = 8\n")
    (tmp_path / "gunicorn.conf.py").write_text("threads = 8\nwsgi_app = 'main:app'\n")
    found = gunicorn(tmp_path, f"gunicorn {option}")
    assert found is not None
    assert found.number("threads") == 8


@pytest.mark.parametrize("text", ["import os\nthreads = int(os.environ['T'])\n", "if True:\n    threads = 8\n"])
def test_what_the_file_computes_is_not_known(tmp_path: Path, text: str) -> None:
    (tmp_path / "gunicorn.conf.py").write_text(text)
    found = gunicorn(tmp_path, "gunicorn main:app")
    assert found is not None
    assert found.number("threads") is None
    assert found.number("workers") == 1


def test_a_file_that_is_broken_or_missing_says_nothing(tmp_path: Path) -> None:
    (tmp_path / "gunicorn.conf.py").write_text("threads = (\n")
    for command in "gunicorn main:app", "gunicorn main:app -c gone.py":
        assert gunicorn(tmp_path, command) == Gunicorn("main:app", {"config": "gone.py"} if "-c" in command else {})


def test_the_platform_may_choose_the_number_of_workers(tmp_path: Path) -> None:
    found = gunicorn(tmp_path, "gunicorn main:app", WEB_CONCURRENCY="4")
    assert found is not None
    assert found.number("workers") == 4
