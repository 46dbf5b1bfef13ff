"""Settings: what is read, and that everything wrong is said at once with its remedy."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gaesignals.errors import SignalsError
from gaesignals.receivers import Receivers
from worker.config import Environment, Settings, SettingsError, load_receivers

GOOD = {"SIGNALS_RECEIVERS": "shop.signals:receivers"}


def problems(environ: dict[str, str]) -> tuple[str, ...]:
    with pytest.raises(SettingsError) as caught:
        Settings.from_env(environ)
    return caught.value.problems


def only_problem(**environ: str) -> str:
    (problem,) = problems({**GOOD, **environ})
    return problem


def test_one_variable_is_enough_off_app_engine() -> None:
    assert Settings.from_env(GOOD) == Settings(receivers="shop.signals:receivers")


def test_the_defaults_are_those_of_the_documentation() -> None:
    settings = Settings.from_env(GOOD)
    assert (settings.queue, settings.service, settings.namespace) == ("signals", "worker", "")
    assert (settings.redispatch_seconds, settings.lease_seconds) == (300, 300)
    assert settings.admins == frozenset()
    assert settings.environment is Environment.OTHER


def test_every_variable_is_read() -> None:
    settings = Settings.from_env(
        {
            "SIGNALS_RECEIVERS": " shop.signals:receivers ",
            "SIGNALS_NAMESPACE": "staging.1",
            "SIGNALS_QUEUE": "Signals-2",
            "SIGNALS_LOCATION": "europe-west1",
            "GOOGLE_CLOUD_PROJECT": "example.com:shop-1",
            "SIGNALS_SERVICE": "signals-worker",
            "SIGNALS_REDISPATCH_SECONDS": "12.5",
            "SIGNALS_LEASE_SECONDS": "900",
            "SIGNALS_ADMINS": "Ada@Example.com, grace@example.com,",
            "SIGNALS_IAP_AUDIENCE": "/projects/123/apps/shop-1",
            "SIGNALS_OIDC_AUDIENCE": "https://worker.example.com",
            "SIGNALS_OIDC_CALLERS": "ci@shop-1.iam.gserviceaccount.com",
            "CLOUD_TASKS_EMULATOR_HOST": "127.0.0.1:8123",
            "GAE_ENV": "localdev",
            "GAE_VERSION": "20260101t101010",
            "GAE_INSTANCE": "00c61b117c8717096ff64563",
        }
    )
    assert settings == Settings(
        receivers="shop.signals:receivers",
        namespace="staging.1",
        queue="Signals-2",
        location="europe-west1",
        project="example.com:shop-1",
        service="signals-worker",
        redispatch_seconds=12.5,
        lease_seconds=900,
        admins=frozenset({"ada@example.com", "grace@example.com"}),
        iap_audience="/projects/123/apps/shop-1",
        oidc_audience="https://worker.example.com",
        version="20260101t101010",
        instance="00c61b117c8717096ff64563",
        oidc_callers=frozenset({"ci@shop-1.iam.gserviceaccount.com"}),
        tasks_emulator_host="127.0.0.1:8123",
        environment=Environment.LOCALDEV,
    )


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Settings().queue = "other"  # type: ignore[misc]  # what is tested


def test_an_empty_variable_counts_as_not_set() -> None:
    assert Settings.from_env({**GOOD, "SIGNALS_QUEUE": "  ", "SIGNALS_ADMINS": " , "}).queue == "signals"


def test_receivers_are_required_unless_the_caller_brings_them() -> None:
    assert problems({}) == (
        "SIGNALS_RECEIVERS is not set: name your Receivers as package.module:attribute, such as shop.signals:receivers",
    )
    assert Settings.from_env({}, need_receivers=False).receivers == ""


def test_all_problems_come_in_one_error_that_names_variable_value_and_remedy() -> None:
    environ = {
        "SIGNALS_RECEIVERS": "shop.signals",
        "SIGNALS_NAMESPACE": "a b",
        "SIGNALS_QUEUE": "signals_queue",
        "SIGNALS_SERVICE": "Worker",
        "SIGNALS_REDISPATCH_SECONDS": "soon",
        "SIGNALS_LEASE_SECONDS": "long",
        "SIGNALS_ADMINS": "ada",
        "SIGNALS_IAP_AUDIENCE": "projects/1",
        "SIGNALS_OIDC_CALLERS": "@",
        "CLOUD_TASKS_EMULATOR_HOST": "http://127.0.0.1:1",
    }
    found = problems(environ)
    named = [f"{name}={value!r}" for name, value in environ.items()]
    assert [problem.partition(": ")[0] for problem in found] == [*named, "SIGNALS_OIDC_AUDIENCE is not set"]
    with pytest.raises(SignalsError, match="settings need a correction:\n- SIGNALS_RECEIVERS=") as caught:
        Settings.from_env(environ)
    assert all(f"\n- {problem}" in str(caught.value) for problem in found)


def test_a_single_problem_is_a_single_line() -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.from_env({**GOOD, "SIGNALS_QUEUE": "a b"})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("value", ["0", "-1", "0.5", "nan", "inf", "1e9", "five", "300s", "3 00"])
@pytest.mark.parametrize("variable", ["SIGNALS_REDISPATCH_SECONDS", "SIGNALS_LEASE_SECONDS"])
def test_a_time_has_to_be_a_sane_number(variable: str, value: str) -> None:
    assert "use a number of seconds from 1 to 86400" in only_problem(**{variable: value})


def test_each_bad_address_is_named() -> None:
    problem = only_problem(SIGNALS_ADMINS="ada@example.com, grace, x@y")
    assert "'grace', 'x@y' is no e-mail address" in problem


def test_app_engine_needs_a_project_and_a_location_and_is_told_how_to_find_it() -> None:
    project, location = sorted(problems({**GOOD, "GAE_ENV": "standard"}))
    assert project.startswith("GOOGLE_CLOUD_PROJECT is not set")
    assert location.startswith("SIGNALS_LOCATION is not set")
    assert "gcloud app describe" in location


def test_app_engines_own_name_of_a_region_is_translated() -> None:
    assert "Cloud Tasks calls this region us-central1" in only_problem(SIGNALS_LOCATION="us-central")


def test_an_emulator_on_app_engine_is_refused() -> None:
    problem = only_problem(
        GAE_ENV="standard",
        GOOGLE_CLOUD_PROJECT="shop-1234",
        SIGNALS_LOCATION="us-central1",
        CLOUD_TASKS_EMULATOR_HOST="127.0.0.1:8123",
    )
    assert "remove it" in problem


def test_callers_without_an_audience_are_refused() -> None:
    assert only_problem(SIGNALS_OIDC_CALLERS="ci@example.com").startswith("SIGNALS_OIDC_AUDIENCE is not set")


def test_a_long_value_is_cut_in_the_message() -> None:
    assert len(only_problem(SIGNALS_QUEUE="x" * 5000)) < 300


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    directory = tmp_path / "team_signals"
    directory.mkdir()
    (directory / "__init__.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    yield directory
    for name in [name for name in sys.modules if name.partition(".")[0] == "team_signals"]:
        del sys.modules[name]


def load_problem(path: str) -> str:
    with pytest.raises(SettingsError) as caught:
        load_receivers(path)
    (problem,) = caught.value.problems
    assert "\n" not in problem
    return problem


def test_receivers_are_imported(package: Path) -> None:
    (package / "mapping.py").write_text("from gaesignals.receivers import Receivers\nreceivers = Receivers()\n")
    assert isinstance(load_receivers("team_signals.mapping:receivers"), Receivers)


def test_a_missing_module_is_one_clear_line(package: Path) -> None:
    assert "there is no module team_signals.maping" in load_problem("team_signals.maping:receivers")
    assert "there is no module nowhere_at_all" in load_problem("nowhere_at_all.x:receivers")


def test_a_module_that_imports_something_missing_is_told_apart_from_a_missing_one(package: Path) -> None:
    (package / "mapping.py").write_text("import not_installed_here\n")
    assert "imports not_installed_here, which is not installed" in load_problem("team_signals.mapping:receivers")


def test_a_module_that_fails_to_import_says_with_what(package: Path) -> None:
    (package / "mapping.py").write_text("raise RuntimeError('no\\ndatabase')\n")
    problem = load_problem("team_signals.mapping:receivers")
    assert problem.endswith("importing it raised RuntimeError: no database (mapping.py, line 1)")


def test_what_is_refused_while_a_module_is_imported_says_where_in_it(package: Path) -> None:
    (package / "mapping.py").write_text(
        "from gaesignals import Receivers\nreceivers = Receivers()\nreceivers.connect('a', lambda: None)\n"
    )
    assert load_problem("team_signals.mapping:receivers").endswith("(mapping.py, line 3)")


@pytest.mark.parametrize(("source", "ending"), [("def f(:\n", "(mapping.py, line 1)"), ("\0", "null bytes")])
def test_the_place_of_what_cannot_be_read_is_said_once_at_most(package: Path, source: str, ending: str) -> None:
    (package / "mapping.py").write_text(source)
    assert load_problem("team_signals.mapping:receivers").endswith(ending)


def test_a_missing_attribute_is_told_what_the_module_has(package: Path) -> None:
    (package / "mapping.py").write_text("from gaesignals.receivers import Receivers\nsignals = Receivers()\n")
    assert "has no receivers; it has signals" in load_problem("team_signals.mapping:receivers")
    (package / "empty.py").touch()
    assert "add `receivers = Receivers()` there" in load_problem("team_signals.empty:receivers")


def test_something_else_than_receivers_is_refused(package: Path) -> None:
    (package / "mapping.py").write_text("receivers = {}\n")
    assert "that is a dict; name a gaesignals.Receivers" in load_problem("team_signals.mapping:receivers")
