"""What would keep a worker from starting, said without starting one."""

from __future__ import annotations

import pytest

from gaesignals import Receivers
from worker.config import SettingsError
from worker.loading import read_environment
from worker.preflight import look

GOOD = {"SIGNALS_RECEIVERS": "examples.shop.receivers:receivers", "SIGNALS_LOCATION": "europe-west1"}


def test_settings_that_are_right_have_no_problem_and_tell_their_receivers() -> None:
    verdict = look(GOOD)
    assert verdict["problems"] == []
    assert "shop.signals.ship_order" in verdict["receivers"]


def test_the_environment_is_that_of_app_engine() -> None:
    (problem,) = look({**GOOD, "CLOUD_TASKS_EMULATOR_HOST": "localhost:1"})["problems"]
    assert "on App Engine it would send every task to an emulator" in problem
    (problem,) = look({**GOOD, "GOOGLE_CLOUD_PROJECT": "?"})["problems"]
    assert problem.startswith("GOOGLE_CLOUD_PROJECT='?'")


def test_problems_of_settings_and_of_receivers_are_told_together() -> None:
    problems = look({"SIGNALS_RECEIVERS": "nowhere:receivers"})["problems"]
    assert [problem.split("=")[0].split()[0] for problem in problems] == ["SIGNALS_LOCATION", "SIGNALS_RECEIVERS"]


def test_a_receiver_is_not_delivered_by_a_queue_that_has_another_purpose(monkeypatch: pytest.MonkeyPatch) -> None:
    receivers = Receivers()
    receivers.connect("order_paid", lambda data: None, queue="mail", id="ship")
    monkeypatch.setattr("worker.preflight.load_receivers", lambda path: receivers)
    monkeypatch.setattr("worker.loading.load_receivers", lambda path: receivers)
    assert look(GOOD)["problems"] == []
    for variable in ("SIGNALS_SAFETY_QUEUE", "SIGNALS_LATER_QUEUE"):
        environ = {**GOOD, variable: "mail", "GOOGLE_CLOUD_PROJECT": "shop-1"}
        (problem,) = look(environ)["problems"]
        assert problem == f"receiver ship: queue='mail' is {variable}, which delivers nothing; name another one"
        with pytest.raises(SettingsError, match=f"is {variable}, which delivers nothing"):
            read_environment(environ, receivers=None, need_queue=True)


def test_a_path_that_is_none_is_told_once() -> None:
    assert len(look({**GOOD, "SIGNALS_RECEIVERS": "not a path"})["problems"]) == 1
