"""The worker's settings and receivers, as the worker's own code reads them."""

from __future__ import annotations

import functools
import inspect
import re
from pathlib import Path

import pytest

from gaesignals.cli.checks import settings
from gaesignals.cli.checks.settings import check_settings, preflight
from worker import config

from .conftest import GOOD, Directory

check = functools.partial(check_settings, receivers=None)


def test_receivers_that_can_be_imported_have_no_problem(directory: Directory) -> None:
    assert directory.problems(check) == []
    environ = {"SIGNALS_RECEIVERS": "shop.receivers:receivers", "SIGNALS_LOCATION": "local"}
    assert preflight(directory.path, environ) == settings.Imported((), ("ship",))


def test_nothing_is_written_where_they_are(directory: Directory) -> None:
    directory.problems(check)
    assert list(directory.path.rglob("__pycache__")) == []


def test_every_setting_that_the_worker_would_refuse_is_a_problem(directory: Directory) -> None:
    wrong = "\n".join(
        [
            "env_variables:",
            "  SIGNALS_QUEUE: a queue",
            "  SIGNALS_REDISPATCH_SECONDS: soon",
            "  SIGNALS_ADMINS: nobody",
            "  SIGNALS_OIDC_CALLERS: a@example.com",
            "  CLOUD_TASKS_EMULATOR_HOST: localhost:1",
        ]
    )
    directory.change("worker.yaml", "env_variables:", wrong)
    directory.change("worker.yaml", "europe-west1", "us-central")
    problems = directory.problems(check)
    assert {problem.code for problem in problems} == {"setting"}
    assert {problem.what.split("=")[0].split()[0] for problem in problems} == {
        "SIGNALS_QUEUE",
        "SIGNALS_REDISPATCH_SECONDS",
        "SIGNALS_ADMINS",
        "SIGNALS_OIDC_AUDIENCE",
        "CLOUD_TASKS_EMULATOR_HOST",
        "SIGNALS_LOCATION",
    }
    (location,) = [problem for problem in problems if "LOCATION" in problem.what]
    assert location.what == "SIGNALS_LOCATION='us-central'"
    assert location.remedy == "Cloud Tasks calls this region us-central1, use that"


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("SIGNALS_LEASE_SECOND", "SIGNALS_LEASE_SECONDS"),
        ("SIGNAL_NAMESPACE", "SIGNALS_NAMESPACE"),
        ("signals_queue", "SIGNALS_QUEUE"),
    ],
)
def test_a_variable_that_is_nearly_a_setting_is_a_problem(directory: Directory, name: str, meant: str) -> None:
    directory.change("worker.yaml", "env_variables:", f"env_variables:\n  {name}: x\n  SIGNALS_OF_OURS: x\n  QUEUE: x")
    (problem,) = directory.problems(check)
    assert (problem.code, problem.what, problem.remedy) == (
        "spelling",
        f"{name} is no setting",
        f"write {meant}, if that is meant",
    )


def test_the_settings_whose_spelling_is_checked_are_those_that_the_worker_reads() -> None:
    assert set(settings.VARIABLES) == set(re.findall(r"SIGNALS_[A-Z_]+[A-Z]", inspect.getsource(config)))


@pytest.mark.parametrize(
    ("location", "remedy"),
    [
        ("europe-west1-b", "that is a zone; write europe-west1"),
        ("mars-west1", "write us-west1 or"),
        ("europe-wset1", "write europe-west1"),
        ("xx", "`gcloud app describe` prints it"),
    ],
)
def test_a_location_that_cloud_tasks_does_not_know_is_a_problem(
    directory: Directory, location: str, remedy: str
) -> None:
    directory.change("worker.yaml", "europe-west1", location)
    problem = directory.only(check)
    assert (problem.code, problem.what) == ("region", f"SIGNALS_LOCATION={location!r} is no region of Cloud Tasks")
    assert problem.remedy.startswith(remedy)


def test_what_is_not_set_is_a_problem(directory: Directory) -> None:
    text = (directory.path / "worker.yaml").read_text()
    lines = [line for line in text.splitlines() if "SIGNALS_LOCATION" not in line and "SIGNALS_RECEIVERS" not in line]
    directory.write("worker.yaml", "\n".join(lines).replace("env_variables:", "env_variables: {}"))
    problems = directory.problems(check)
    assert [(each.code, each.what) for each in problems] == [
        ("receivers", "SIGNALS_RECEIVERS is not set"),
        ("setting", "SIGNALS_LOCATION is not set"),
    ]
    assert all(problem.remedy for problem in problems)


def test_what_is_still_to_be_filled_in_is_said_so(directory: Directory) -> None:
    directory.change("worker.yaml", "europe-west1", '""')
    assert directory.only(check).what == "SIGNALS_LOCATION is empty"


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("import nothing_like_it\n", "shop.receivers imports nothing_like_it, which is not installed"),
        ("raise RuntimeError('at\\nonce')\n", "importing it raised RuntimeError: at once"),
        ("receivers = 3\n", "that is a int"),
        ("", "shop.receivers has no receivers"),
        ("import sys; sys.exit(3)\n", "importing it ends the process, with exit code 3"),
        ("from gaesignals import Receivers\nreceivers = Receivers()\n", "no receiver is connected to it"),
        (
            "from gaesignals import Receivers\nreceivers = Receivers()\n"
            "receivers.connect('user_{id}', lambda data: 0)\n",
            "importing it raised InvalidMappingError: the handler shop.receivers.<lambda> of 'user_{id}' "
            "will be called as handler(data, id=...), but has the signature (data)",
        ),
        (
            "from gaesignals import Receivers\nreceivers = Receivers()\n"
            "@receivers.receiver('a')\ndef handle(data): yield\n",
            "is a generator",
        ),
    ],
)
def test_receivers_that_would_keep_the_worker_from_starting(directory: Directory, text: str, what: str) -> None:
    directory.write("shop/receivers.py", text)
    problem = directory.only(check)
    assert (problem.file, problem.code) == ("worker.yaml", "receivers")
    assert what in " ".join(problem.what.split())


def test_a_lease_has_to_fit_into_what_the_scaling_gives_a_request(directory: Directory) -> None:
    with (directory.path / "shop/receivers.py").open("a") as module:
        module.write("receivers.connect('film', print, id='cut', lease_seconds=3600)\n")
        module.write("receivers.connect('photo', print, id='crop', lease_seconds=600)\n")
    assert directory.problems(check) == []
    text = (directory.path / "worker.yaml").read_text()
    start, end = text.index("instance_class"), text.index("env_variables")
    directory.write("worker.yaml", text[:start] + text[end:])
    problem = directory.only(check)
    assert (problem.file, problem.code) == ("worker.yaml", "lease")
    assert problem.what.startswith("cut has a lease of 3600 s")
    assert "basic_scaling" in problem.remedy


def test_the_queue_that_a_receiver_names_has_to_be_there(directory: Directory) -> None:
    with (directory.path / "shop/receivers.py").open("a") as module:
        module.write("receivers.connect('mail', print, id='post', queue='mail')\n")
    problem = directory.only(check)
    assert (problem.file, problem.code) == ("queue.yaml", "queue-unknown")
    assert problem.what == "there is no push queue mail, which post names"
    with (directory.path / "queue.yaml").open("a") as queues:
        queues.write("- name: mail\n  rate: 1/s\n")
    assert directory.problems(check) == []


def test_what_modules_print_and_start_does_no_harm(directory: Directory) -> None:
    with (directory.path / "shop/receivers.py").open("a") as module:
        module.write("import threading\nprint('preflight: hello', end='')\n")
        module.write("threading.Thread(target=threading.Event().wait).start()\n")
    assert directory.problems(check) == []


def test_a_process_that_modules_leave_behind_is_not_waited_for(
    directory: Directory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings, "IMPORT_SECONDS", 20)
    with (directory.path / "shop/receivers.py").open("a") as module:
        module.write("import subprocess\nleft = subprocess.Popen(['sleep', '30'])\n")
    assert directory.problems(check) == []


def test_an_import_that_does_not_end_is_a_problem(directory: Directory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "IMPORT_SECONDS", 0.01)
    assert "importing it takes longer than" in directory.only(check).what


def test_modules_see_the_env_variables_of_the_service(directory: Directory) -> None:
    directory.change("worker.yaml", "env_variables:", "env_variables:\n  SHOP: open")
    with (directory.path / "shop/receivers.py").open("a") as module:
        module.write(
            "import os\nassert os.environ['SHOP'] == 'open'\nassert os.getcwd() == os.path.dirname(__file__)[:-5]\n"
        )
    assert directory.problems(check) == []


def test_given_receivers_stand_for_those_of_the_service(directory: Directory, tmp_path: Path) -> None:
    assert directory.only(functools.partial(check_settings, receivers="shop.receivers:others")).what.endswith(
        "shop.receivers has no others"
    )
    directory.remove("worker.yaml")
    assert directory.problems(functools.partial(check_settings, receivers="shop.receivers:receivers")) == []
    problem = directory.only(functools.partial(check_settings, receivers="nowhere:receivers"))
    assert problem.file == "--receivers"
    assert "there is no module nowhere" in problem.what


class TestSignalsThatCronSends:
    @pytest.fixture(autouse=True)
    def patterns(self, directory: Directory) -> None:
        added = "receivers.connect('user_{id}_left', lambda data, id: None, id='bye')\n"
        directory.write("shop/receivers.py", GOOD["shop/receivers.py"] + added)

    def add(self, directory: Directory, path: str, *, target: str = "worker") -> None:
        entry = f"- url: {path}\n  schedule: every day 03:00\n  target: {target}\n"
        directory.write("cron.yaml", GOOD["cron.yaml"] + entry)

    @pytest.mark.parametrize("name", ["order_paid", "order_paid?kind=all", "user_7_left", "user%5F7_left"])
    def test_that_a_receiver_matches_have_no_problem(self, directory: Directory, name: str) -> None:
        self.add(directory, f"/cron/send/{name}")
        assert directory.problems(check) == []

    @pytest.mark.parametrize("name", ["order_payed", "user_left", "order_paid/"])
    def test_that_no_receiver_matches_are_a_problem(self, directory: Directory, name: str) -> None:
        self.add(directory, f"/cron/send/{name}?kind=all")
        problem = directory.only(check)
        assert (problem.file, problem.code) == ("cron.yaml", "cron-unmatched")
        assert repr(name) in problem.what

    def test_are_those_of_the_worker_alone(self, directory: Directory) -> None:
        self.add(directory, "/cron/send/order_payed", target="shop")
        assert directory.problems(check) == []

    def test_are_not_looked_at_where_receivers_cannot_be_imported(self, directory: Directory) -> None:
        self.add(directory, "/cron/send/order_payed")
        directory.write("shop/receivers.py", "raise RuntimeError\n")
        assert directory.only(check).code == "receivers"
