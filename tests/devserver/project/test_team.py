"""Which services an application has here, and what counts more where several things say so."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from devserver.options import Options, read_options
from devserver.processes.front import Front, Rule
from devserver.project.commands import Services
from devserver.project.team import WORKER_APP, Team, read_team
from gaesignals.appyaml.errors import ConfigError

APP = "runtime: python312\nentrypoint: gunicorn -b :$PORT shop.main:app\nenv_variables: {SIZE: 3, WHO: file}\n"
WORKER = """
service: worker
runtime: python312
entrypoint: gunicorn -b :$PORT gaesignals_worker.main:app
env_variables: {SIGNALS_RECEIVERS: "shop.receivers:receivers", SIGNALS_LOCATION: us-central1, SIGNALS_QUEUE: mine}
"""
API = "service: api\nruntime: python312\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name, text in ("app", APP), ("worker", WORKER), ("api", API):
        (tmp_path / f"{name}.yaml").write_text(text)
    return tmp_path


@pytest.fixture(autouse=True)
def no_example(monkeypatch: pytest.MonkeyPatch) -> None:
    """As it is for a team, which installs a wheel."""
    monkeypatch.setattr("devserver.project.team.CHECKOUT", None)


def options(root: Path, *arguments: str) -> Options:
    return read_options(["--root", str(root), *arguments])


def services(root: Path, *arguments: str, **environ: str) -> Services:
    team = read_team(options(root, *arguments), environ)
    ports = dict.fromkeys(["--frontend-port", "--worker-port", "--api-port", "--tasks-port", "api"], 1)
    return Services(options(root, *arguments), team, ports, environ)


def receivers_of(team: Team) -> str:
    return team.worker.variables["SIGNALS_RECEIVERS"]


def test_services_are_those_of_the_files(root: Path) -> None:
    team = read_team(options(root), {})
    assert [(each.name, each.label, each.app) for each in team.services] == [
        ("worker", "worker", WORKER_APP),
        ("default", "frontend", "shop.main:app"),
        ("api", "api service", "main:app"),
    ]
    assert (receivers_of(team), team.queue) == ("shop.receivers:receivers", "mine")


def test_the_command_line_counts_more_than_the_shell_and_that_more_than_the_files(root: Path) -> None:
    environ = {"SIGNALS_RECEIVERS": "shell:receivers", "SIGNALS_QUEUE": "shells"}
    team = read_team(options(root), environ)
    assert (receivers_of(team), team.queue) == ("shell:receivers", "shells")
    team = read_team(options(root, "--receivers", "mine:receivers", "--frontend", "mine:app"), environ)
    assert (receivers_of(team), team.frontend.app) == ("mine:receivers", "mine:app")


def test_a_service_has_the_variables_of_its_file_but_the_shell_and_the_cloud_come_first(root: Path) -> None:
    found = services(root, WHO="shell")
    environ = found.service_environ(found.team.frontend)
    assert (environ["SIZE"], environ["WHO"]) == ("3", "shell")
    environ = found.service_environ(found.team.worker)
    assert (environ["SIGNALS_LOCATION"], environ["SIGNALS_RECEIVERS"]) == ("local", "shop.receivers:receivers")
    assert "SIZE" not in environ


def test_the_receivers_of_the_command_line_reach_the_worker_past_the_shell(root: Path) -> None:
    found = services(root, "--receivers", "mine:receivers", SIGNALS_RECEIVERS="shell:receivers")
    assert found.service_environ(found.team.worker)["SIGNALS_RECEIVERS"] == "mine:receivers"


def test_a_worker_with_an_app_of_its_own_is_known_by_its_receivers(root: Path) -> None:
    (root / "worker.yaml").write_text(WORKER.replace("gaesignals_worker.main:app", "ours:app"))
    team = read_team(options(root), {})
    assert (team.worker.app, team.worker.name) == ("ours:app", "worker")


def test_a_worker_that_its_tasks_would_not_find_is_refused(root: Path) -> None:
    (root / "worker.yaml").write_text(WORKER.replace("service: worker", "service: background"))
    with pytest.raises(ConfigError, match="add SIGNALS_SERVICE: background to its env_variables"):
        read_team(options(root), {})
    assert read_team(options(root), {"SIGNALS_SERVICE": "background"}).worker.name == "background"


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("app.yaml", "describes the default service; add an app.yaml"),
        ("worker.yaml", "describes the worker; add a worker.yaml, as `gaesignals init` writes it"),
    ],
)
def test_what_is_missing_is_named_with_the_remedy(root: Path, file: str, message: str) -> None:
    (root / file).unlink()
    with pytest.raises(ConfigError, match=message):
        read_team(options(root), {})


def test_a_worker_without_receivers_is_told_what_its_file_lacks(root: Path) -> None:
    (root / "worker.yaml").write_text(WORKER.replace("SIGNALS_RECEIVERS", "SIGNAL_RECEIVERS"))
    with pytest.raises(ConfigError, match=r"worker.yaml: SIGNALS_RECEIVERS is not among the env_variables; add it"):
        read_team(options(root), {})


@pytest.mark.parametrize(
    ("text", "notice"),
    [
        ("service: a\nruntime: nodejs20\n", "its runtime is nodejs20"),
        ("service: a\nruntime: python\nenv: flex\n", "it is for the flexible environment"),
        (
            f"{API}entrypoint: waitress-serve\n",
            "its entrypoint is not gunicorn or uvicorn with an app: waitress-serve",
        ),
        (API, "on App Engine it has no memcache; add `app_engine_apis: true`"),
        ("runtime: python312\n", "the service default is started as app.yaml says"),
    ],
)
def test_what_is_not_served_here_or_would_differ_on_app_engine_is_a_notice(root: Path, text: str, notice: str) -> None:
    (root / "api.yaml").unlink()
    before = set(read_team(options(root), {}).notices)
    (root / "other.yml").write_text(text)
    (found,) = set(read_team(options(root), {}).notices) - before
    assert found.startswith(f"other.yml: {notice}")


@pytest.mark.parametrize(
    ("app", "notice"),
    [
        ("runtime: nodejs22\n", "its runtime is nodejs22"),
        ("runtime: python312\nentrypoint: python main.py\n", "its entrypoint is not gunicorn or uvicorn with an app"),
    ],
)
def test_the_others_run_without_a_default_service_that_cannot_run_here(root: Path, app: str, notice: str) -> None:
    (root / "app.yaml").write_text(app)
    team = read_team(options(root), {})
    assert team.frontend is None
    assert [service.name for service in team.services] == ["worker", "api"]
    assert team.notices[0].startswith(f"app.yaml: {notice}")


def test_several_directories_are_one_application_each_with_modules_of_its_own(root: Path, tmp_path: Path) -> None:
    more = tmp_path / "more"
    (more / "backend").mkdir(parents=True)
    (more / "mail.yaml").write_text("service: mail\nruntime: python312\nentrypoint: gunicorn --chdir backend app:app\n")
    (more / "cron.yaml").write_text("cron:\n- url: /a\n  schedule: every 1 hours\n")
    found = read_options([str(root), str(more)])
    team = read_team(found, {})
    assert [service.name for service in team.services] == ["worker", "default", "api", "mail"]
    ports = dict.fromkeys(["--frontend-port", "--worker-port", "--api-port", "--tasks-port", "api", "mail"], 1)
    made = Services(found, team, ports, {})
    mail, worker = made.app(team.others[1]), made.app(team.worker)
    assert (mail.directory, worker.directory) == (more / "backend", root)
    assert mail.environ["PYTHONPATH"].split(":")[:2] == [str(more / "backend"), str(more)]
    assert str(more) not in worker.environ["PYTHONPATH"].split(":")
    assert str(more / "cron.yaml") in made.cron().arguments


def test_dispatch_yaml_leads_to_the_services_that_run_here(root: Path) -> None:
    (root / "dispatch.yaml").write_text(
        "dispatch:\n- url: '*/api/*'\n  service: api\n- url: 'x.example.com/'\n  service: gone\n"
    )
    found = services(root, "--host", "Shop.Example.com")
    front = Front.from_environ(found.service_environ(found.team.worker))
    assert front == Front(
        "worker",
        (
            Rule("", False, "/api/", False, "api", "127.0.0.1:1"),
            Rule("x.example.com", True, "/", True, "gone", ""),
        ),
        ("shop.example.com",),
    )


def test_the_services_can_be_bound_to_another_address_too(root: Path) -> None:
    def bound(address: str) -> list[str]:
        found = services(root, "--bind", address)
        front = Front.from_environ(found.service_environ(found.team.worker))
        assert front.takes_all_callers == (address != "127.0.0.1")
        arguments = list(found.app(found.team.worker).arguments)
        return [arguments[number + 1] for number, word in enumerate(arguments) if word == "--bind"]

    assert bound("127.0.0.1") == ["127.0.0.1:1"]
    assert bound("0.0.0.0") == ["0.0.0.0:1"]
    assert bound("10.0.0.7") == ["127.0.0.1:1", "10.0.0.7:1"]
    assert bound("::") == ["[::]:1"]


def test_options_can_stand_for_all_files(tmp_path: Path) -> None:
    given = options(tmp_path, "--frontend", "mine:app", "--receivers", "mine:receivers")
    assert [service.name for service in read_team(replace(given), {}).services] == ["worker", "default"]
