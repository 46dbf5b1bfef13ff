"""Settings: what is read, and that everything wrong is said at once with its remedy."""

from __future__ import annotations

import dataclasses
import os

import pytest

from gaesignals.errors import SignalsError
from worker.config import Environment, Settings, SettingsError, comparable

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
    assert (settings.safety_queue, settings.later_queue) == ("signals-safety", "signals-later")
    assert (settings.redispatch_seconds, settings.lease_seconds) == (300, 300)
    assert (settings.memcache_seconds, settings.safety_seconds) == (5, 600)
    assert (settings.store, settings.tasks) == ("memcache", "")
    assert settings.admins == frozenset()
    assert settings.environment is Environment.OTHER


def test_every_variable_is_read() -> None:
    settings = Settings.from_env(
        {
            "SIGNALS_RECEIVERS": " shop.signals:receivers ",
            "SIGNALS_NAMESPACE": "staging.1",
            "SIGNALS_QUEUE": "Signals-2",
            "SIGNALS_SAFETY_QUEUE": "safe",
            "SIGNALS_LATER_QUEUE": "late",
            "SIGNALS_STORE": "valkey://:secret@10.0.0.3:6379/1",
            "SIGNALS_TASKS": "cloud_tasks",
            "SIGNALS_MEMCACHE_SECONDS": "2.5",
            "SIGNALS_SAFETY_SECONDS": "60",
            "SIGNALS_LOCATION": "europe-west1",
            "GOOGLE_CLOUD_PROJECT": "example.com:shop-1",
            "SIGNALS_SERVICE": "signals-worker",
            "SIGNALS_REDISPATCH_SECONDS": "12.5",
            "SIGNALS_LEASE_SECONDS": "900",
            "SIGNALS_CRON_SECONDS": "600",
            "SIGNALS_ADMINS": "Ada@Example.com, grace@example.com,",
            "SIGNALS_IAP_AUDIENCE": "/projects/123/apps/shop-1",
            "SIGNALS_OIDC_AUDIENCE": "https://worker.example.com",
            "SIGNALS_OIDC_CALLERS": "ci@shop-1.iam.gserviceaccount.com",
            "SIGNALS_OIDC_SENDERS": "Billing@shop-1.iam.gserviceaccount.com",
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
        safety_queue="safe",
        later_queue="late",
        store="valkey://:secret@10.0.0.3:6379/1",
        tasks="cloud_tasks",
        memcache_seconds=2.5,
        safety_seconds=60,
        location="europe-west1",
        project="example.com:shop-1",
        service="signals-worker",
        redispatch_seconds=12.5,
        lease_seconds=900,
        cron_seconds=600,
        admins=frozenset({"ada@example.com", "grace@example.com"}),
        iap_audience="/projects/123/apps/shop-1",
        oidc_audience="https://worker.example.com",
        version="20260101t101010",
        instance="00c61b117c8717096ff64563",
        oidc_callers=frozenset({"ci@shop-1.iam.gserviceaccount.com"}),
        oidc_senders=frozenset({"billing@shop-1.iam.gserviceaccount.com"}),
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
        "SIGNALS_SAFETY_QUEUE": "a/b",
        "SIGNALS_LATER_QUEUE": "late!",
        "SIGNALS_SERVICE": "Worker",
        "SIGNALS_TASKS": "celery",
        "SIGNALS_MEMCACHE_SECONDS": "0",
        "SIGNALS_SAFETY_SECONDS": "901",
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


@pytest.mark.parametrize(
    ("variable", "bounds"), [("SIGNALS_MEMCACHE_SECONDS", "0.1 to 60"), ("SIGNALS_SAFETY_SECONDS", "5 to 900")]
)
@pytest.mark.parametrize("value", ["0", "1e4", "nan"])
def test_a_time_has_the_bounds_of_what_it_is_for(variable: str, bounds: str, value: str) -> None:
    assert f"use a number of seconds from {bounds}" in only_problem(**{variable: value})


@pytest.mark.parametrize(
    ("store", "says"),
    [
        ("memcached:secret", "a store is memcache, or a URL"),
        ("http://:secret@10.0.0.3", "begins with valkey://"),
        ("redis://:secret@", "needs a host"),
        ("valkey://:secret@a b", "printable ASCII"),
        ("valkey://:secret@a/shop", "number of a database"),
    ],
)
def test_a_store_that_cannot_be_is_refused_without_repeating_what_may_be_a_password(store: str, says: str) -> None:
    problem = only_problem(SIGNALS_STORE=store)
    assert problem.startswith("SIGNALS_STORE='...': ")
    assert says in problem
    assert "secret" not in problem


@pytest.mark.parametrize(
    "email", ["wei\u00df@example.com", "\u212aim@example.com", "ada@ex\u0131mple.com", "a\u202e@x.de"]
)
@pytest.mark.parametrize("variable", ["SIGNALS_ADMINS", "SIGNALS_OIDC_CALLERS", "SIGNALS_OIDC_SENDERS"])
def test_an_address_that_others_may_look_or_be_folded_like_is_refused(variable: str, email: str) -> None:
    problem = only_problem(**{variable: email, "SIGNALS_OIDC_AUDIENCE": "worker"})
    assert problem.isascii() or email in problem.partition(": ")[0]
    assert "is no e-mail address in ASCII" in problem


@pytest.mark.parametrize(
    ("email", "same"),
    [("Ada@Example.COM", "ada@example.com"), ("wei\u00df@example.com", ""), ("\u212aim@example.com", "")],
)
def test_addresses_are_compared_in_lower_case_and_others_are_nobodys(email: str, same: str) -> None:
    assert comparable(email) == same


def test_settings_are_those_of_the_moment_at_which_they_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """The SDK replaces os.environ itself, so what was there at import is another mapping."""
    monkeypatch.setattr(os, "environ", {**GOOD, "SIGNALS_QUEUE": "later"})
    assert Settings.from_env().queue == "later"


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
    for variable in ("SIGNALS_OIDC_CALLERS", "SIGNALS_OIDC_SENDERS"):
        problem = only_problem(**{variable: "ci@example.com"})
        assert problem == f"SIGNALS_OIDC_AUDIENCE is not set: it has to be set where {variable} is"


def test_a_long_value_is_cut_in_the_message() -> None:
    assert len(only_problem(SIGNALS_QUEUE="x" * 5000)) < 300
