"""The app as a whole: how it is put together, how it answers errors, and that it starts."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gaesignals import Receivers, Signal
from gaesignals.testing import MemoryStore
from worker.app import create_app
from worker.config import Environment, Settings, SettingsError
from worker.queue import CloudTasksQueue

from .conftest import CRON_HEADERS, Client, MakeClient
from .recording_queue import RecordingQueue


@pytest.fixture
def client(make_client: MakeClient) -> Client:
    return make_client(Receivers())


@pytest.fixture
def team_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    monkeypatch.syspath_prepend(str(tmp_path))
    yield lambda text: (tmp_path / "a_teams_module.py").write_text(text) and None
    sys.modules.pop("a_teams_module", None)


class TestCreateApp:
    def test_reads_the_environment_and_imports_the_receivers(
        self, team_module: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        team_module("from gaesignals import Receivers\nreceivers = Receivers()\nreceivers.connect('a', print)\n")
        monkeypatch.setenv("SIGNALS_RECEIVERS", "a_teams_module:receivers")
        monkeypatch.setenv("GAE_ENV", "localdev")
        client = Client(create_app(store=MemoryStore(), queue=RecordingQueue()), RecordingQueue())
        assert [each["name"] for each in client.http.get("/admin/status").json["receivers"]] == ["a"]

    def test_needs_no_setting_for_receivers_that_are_given(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("SIGNALS_RECEIVERS", raising=False)
        create_app(receivers=Receivers(), store=MemoryStore(), queue=RecordingQueue())

    def test_says_what_is_wrong_with_the_settings(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SIGNALS_QUEUE", "a b")
        for variable in ("SIGNALS_RECEIVERS", "SIGNALS_LOCATION", "GOOGLE_CLOUD_PROJECT"):
            monkeypatch.delenv(variable, raising=False)
        with pytest.raises(SettingsError) as caught:
            create_app()
        assert [problem.split("=")[0].split()[0] for problem in caught.value.problems] == [
            "SIGNALS_RECEIVERS",
            "SIGNALS_QUEUE",
            "SIGNALS_LOCATION",
            "GOOGLE_CLOUD_PROJECT",
        ]

    def test_says_what_is_wrong_with_settings_and_receivers_at_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SIGNALS_QUEUE", "a b")
        monkeypatch.setenv("SIGNALS_RECEIVERS", "nowhere:receivers")
        with pytest.raises(SettingsError) as caught:
            create_app(queue=RecordingQueue())
        queue, receivers = caught.value.problems
        assert "SIGNALS_QUEUE='a b'" in queue
        assert "there is no module nowhere" in receivers

    def test_says_what_is_wrong_with_the_receivers(self) -> None:
        with pytest.raises(SettingsError, match="there is no module nowhere"):
            create_app(Settings(receivers="nowhere:receivers"))

    def test_needs_a_project_for_cloud_tasks(self) -> None:
        with pytest.raises(SettingsError, match="GOOGLE_CLOUD_PROJECT"):
            create_app(Settings(), receivers=Receivers())

    def test_makes_the_queue_of_the_settings_without_a_connection(self) -> None:
        settings = Settings(project="shop-1", location="europe-west1", environment=Environment.STANDARD)
        create_app(settings, receivers=Receivers())
        assert CloudTasksQueue(settings)._tasks._client_of is None

    def test_makes_apps_that_share_nothing(self, make_client: MakeClient) -> None:
        one, other = make_client(Receivers(), store=MemoryStore()), make_client(Receivers(), store=MemoryStore())
        one.worker.stopping.set()
        assert not other.worker.stopping.is_set()

    def test_keeps_the_signals_of_its_namespace_apart(self, make_client: MakeClient) -> None:
        receivers = Receivers()
        receivers.connect("a", print)
        Signal("a").send()
        assert make_client(receivers, namespace="apart").cron().json["names"] == 0
        assert make_client(receivers).cron().json["names"] == 1


class TestErrors:
    def test_for_scripts_are_json(self, client: Client) -> None:
        assert client.http.get("/nowhere", status=404).json == {"error": "There is nothing here."}
        assert client.http.post("/healthz", status=405).json["error"].startswith("This address does not take")

    def test_for_people_are_pages(self, client: Client) -> None:
        answer = client.browse("/nowhere", status=404)
        assert answer.content_type == "text/html"
        assert "There is nothing here." in answer.text

    def test_name_the_methods_that_would_do(self, client: Client) -> None:
        assert "GET" in client.http.post("/healthz", status=405).headers["Allow"]

    def test_repeat_nothing_of_the_address(self, client: Client) -> None:
        assert "script" not in client.browse("/<script>", status=404).text

    def test_that_nobody_expected_are_in_the_log_and_not_in_the_answer(
        self, client: Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        def explode(*args: object, **options: object) -> None:
            raise ZeroDivisionError("a detail")

        monkeypatch.setattr("worker.dispatcher.Dispatcher.fan_out", explode)
        for headers in (CRON_HEADERS, {**CRON_HEADERS, "Accept": "text/html"}):
            answer = client.http.get("/cron/drain", headers=headers, status=500)
            answer.mustcontain("the worker", no=["ZeroDivisionError", "a detail", "Traceback"])
        assert "a detail" in caplog.text

    @pytest.mark.parametrize("path", ["/healthz", "/nowhere", "/admin/", "/admin/status", "/cron/drain"])
    def test_and_answers_carry_the_headers_that_keep_browsers_in_check(self, client: Client, path: str) -> None:
        headers = client.http.get(path, status="*").headers
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["X-Frame-Options"] == "DENY"
        assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
        assert headers["Referrer-Policy"] == "same-origin"
        assert headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    ("accept", "is_page"),
    [
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", True),
        ("text/html", True),
        ("*/*", False),
        ("application/json", False),
        ("application/json, text/html;q=0.5", False),
        ("text/plain", False),
        ("", False),
    ],
)
def test_a_page_is_for_those_who_prefer_one(client: Client, accept: str, is_page: bool) -> None:
    answer = client.http.get("/nowhere", headers={"Accept": accept}, status=404)
    assert (answer.content_type == "text/html") is is_page
