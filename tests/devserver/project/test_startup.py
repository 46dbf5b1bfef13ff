"""What `python -m devserver` refuses to start with, in the process of the test; nothing is started."""

from __future__ import annotations

import os
import shutil
import socket
from dataclasses import replace
from pathlib import Path

import pytest

from devserver.__main__ import main
from devserver.options import Options, read_options
from devserver.place import PROGRAM
from devserver.processes.child import Command
from devserver.processes.ports import choose_ports
from devserver.project.checks import AppCheck
from devserver.project.commands import Services
from devserver.project.team import read_team
from gaesignals.appyaml.errors import ConfigError
from gaesignals.appyaml.preflight import problem_with

ROOT = Path(__file__).parents[3]
PORTS = {"--frontend-port": 1, "--worker-port": 2, "--api-port": 3, "--tasks-port": 4}
FREE = ("--frontend-port", "0", "--worker-port", "0")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A directory of somebody's own, with the project's files."""
    for name in ("cron.yaml", "queue.yaml"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def refusal(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The line with which a start is refused."""
    assert main([*FREE, *arguments]) == 2
    written = capsys.readouterr()
    assert written.out.startswith("Starting the local cloud of ")
    assert written.out.count("\n") == 1
    (line,) = written.err.splitlines()
    assert line.startswith(f"{PROGRAM}: ")
    return line


class TestOptions:
    def test_have_defaults_that_need_nothing(self) -> None:
        options = read_options([])
        team = read_team(replace(options, roots=(ROOT,)), {})
        assert team.frontend.app == "examples.shop.main:app"
        assert team.worker.variables["SIGNALS_RECEIVERS"] == "examples.shop.receivers:receivers"
        assert (options.frontend_port, options.worker_port, options.api_port, options.tasks_port) == (8080, 8081, 0, 0)

    def test_take_the_receivers_from_the_environment_unless_they_are_given(self) -> None:
        environ = {"SIGNALS_RECEIVERS": "mine:receivers"}
        for arguments, chosen in ([], "mine:receivers"), (["--receivers", "other:receivers"], "other:receivers"):
            options = replace(read_options(arguments), roots=(ROOT,))
            assert read_team(options, environ).worker.variables["SIGNALS_RECEIVERS"] == chosen

    def test_name_the_directory_in_either_way(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        for arguments in [str(tmp_path)], ["--root", str(tmp_path)], ["--api-port", "0", str(tmp_path)]:
            assert read_options(arguments).roots == (tmp_path,)
        assert read_options([]).roots == (Path.cwd(),)
        with pytest.raises(SystemExit):
            read_options([str(tmp_path), "--root", str(tmp_path)])
        assert "give either DIR or --root DIR" in capsys.readouterr().err

    @pytest.mark.parametrize(
        "arguments",
        [
            ("--frontend", "nocolon"),
            ("--receivers", "a:b:c"),
            ("--worker-port", "70000"),
            ("--worker-port", "x"),
            ("--worker-port", "-1"),
            ("--host", "a:1"),
            ("--bind", "localhost"),
            ("--cron-every", "0"),
            ("--cron-every", "nan"),
            ("--cron-every", "x"),
            ("--unknown",),
        ],
    )
    def test_that_make_no_sense_are_named(self, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]) -> None:
        with pytest.raises(SystemExit) as exited:
            read_options(arguments)
        assert exited.value.code == 2
        assert arguments[0] in capsys.readouterr().err.splitlines()[-1]


class TestPorts:
    def test_that_are_0_become_free_ones_and_different(self) -> None:
        chosen = choose_ports(dict.fromkeys(PORTS, 0))
        assert len(set(chosen.values())) == len(PORTS)
        assert choose_ports(chosen) == chosen

    @pytest.mark.parametrize("option", PORTS)
    def test_that_are_taken_are_named_with_their_option(self, capsys: pytest.CaptureFixture[str], option: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            line = refusal(capsys, option, str(port))
        assert f"port {port} is taken" in line
        assert f"{option} PORT" in line

    def test_that_somebody_else_has_as_localhost_are_taken(self, capsys: pytest.CaptureFixture[str]) -> None:
        try:
            taken = socket.create_server(("::1", 0), family=socket.AF_INET6)
        except OSError:
            pytest.skip("this machine has no IPv6")
        with taken:
            port = taken.getsockname()[1]
            assert f"port {port} is taken" in refusal(capsys, "--worker-port", str(port))

    def test_that_are_the_same_are_named(self, capsys: pytest.CaptureFixture[str]) -> None:
        (port,) = choose_ports({"--api-port": 0}).values()
        line = refusal(capsys, "--api-port", str(port), "--tasks-port", str(port))
        assert f"--api-port and --tasks-port are both {port}" in line


class TestFiles:
    @pytest.mark.parametrize(
        ("name", "text", "message"),
        [
            ("cron.yaml", "cron:\n- url: /a\n  schedule: now and then\n", "job /a: 'now and then' is not a schedule"),
            ("cron.yaml", "cron: [", "cron.yaml: App Engine refuses the file: line 1"),
            ("cron.yaml", None, "`gaesignals check` says what has to be in it"),
            ("queue.yaml", "queue:\n- name: signals\n", "queue signals has no rate"),
            ("queue.yaml", "queue:\n- name: other\n  rate: 5/s\n", "queue.yaml has no queue 'signals'"),
            ("queue.yaml", None, "there is no queue.yaml in"),
        ],
    )
    def test_that_are_broken_or_missing_are_one_clear_line(
        self, capsys: pytest.CaptureFixture[str], root: Path, name: str, text: str | None, message: str
    ) -> None:
        (root / name).unlink()
        if text is not None:
            (root / name).write_text(text)
        assert message in refusal(capsys, "--root", str(root))

    def test_that_cannot_be_read_are_one_clear_line(self, capsys: pytest.CaptureFixture[str], root: Path) -> None:
        (root / "cron.yaml").write_bytes(b"\xff")
        assert "cron.yaml" in refusal(capsys, "--root", str(root))


class TestPreflight:
    @pytest.fixture(autouse=True)
    def modules(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.syspath_prepend(str(tmp_path))
        (tmp_path / "preflight_fails.py").write_text("x = 1\n1 / 0\n")
        (tmp_path / "preflight_imports.py").write_text("import not_there.at_all\n")
        (tmp_path / "preflight_syntax.py").write_text("def f(:\n")
        (tmp_path / "preflight_fine.py").write_text("app = None\n")

    @pytest.mark.parametrize(
        ("path", "problem"),
        [
            ("preflight_fine:app", None),
            ("preflight_fine:missing", "the module preflight_fine has no missing"),
            ("preflight_gone:app", "there is no module preflight_gone"),
            ("preflight_gone.deeper:app", "there is no module preflight_gone.deeper"),
            ("preflight_fails:app", "preflight_fails cannot be imported: ZeroDivisionError: division by zero"),
            ("preflight_fails:app", "(preflight_fails.py, line 2)"),
            ("preflight_imports:app", "preflight_imports cannot be imported: No module named 'not_there'"),
            ("preflight_syntax:app", "(preflight_syntax.py, line 1)"),
        ],
    )
    def test_says_what_is_wrong_with_an_app(self, path: str, problem: str | None) -> None:
        found = problem_with(path)
        assert found == problem if problem is None else problem in (found or "")


class TestCheck:
    @staticmethod
    def check(tmp_path: Path, *arguments: str) -> None:
        command = Command("mine:app", list(arguments), {}, tmp_path)
        check = AppCheck(command, origin="--frontend mine:app")
        try:
            check.raise_problem()
            assert check.is_done
        finally:
            check.close()

    def test_passes_what_can_be_imported(self, tmp_path: Path) -> None:
        self.check(tmp_path, "echo", 'preflight: {"problems": []}')

    def test_tells_the_verdict_among_other_output(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match=r"^it is broken \(--frontend mine:app\)$"):
            self.check(
                tmp_path, "sh", "-c", 'echo noise; echo \'preflight: {"problems": ["it is broken"]}\'; echo more'
            )

    def test_tells_the_last_line_of_a_process_that_ends_otherwise(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="mine:app ends the process that imports it, with exit code 3: bye"):
            self.check(tmp_path, "sh", "-c", "echo bye; exit 3")

    def test_ends_an_import_that_takes_for_ever(self, tmp_path: Path) -> None:
        check = AppCheck(Command("mine:app", ["sleep", "600"], {}, tmp_path), origin="--frontend")
        assert not check.is_done
        check.close()
        assert check.is_done


class TestServices:
    @staticmethod
    def services(**environ: str) -> Services:
        options = Options((ROOT,), "f:app", "r:receivers", 1, 2, 3, 4, cron_every_seconds=2.5)
        return Services(options, read_team(options, environ), PORTS, environ)

    def test_get_the_environment_of_a_local_app_engine(self) -> None:
        services = self.services(HOME="/home/me", GAE_ENV="standard", GUNICORN_CMD_ARGS="--bind 0.0.0.0")
        environ = services.service_environ(services.team.worker)
        expected = {
            "HOME": "/home/me",
            "GAE_ENV": "localdev",
            "GAE_SERVICE": "worker",
            "API_HOST": "127.0.0.1",
            "API_PORT": "3",
            "PORT": "2",
            "CLOUD_TASKS_EMULATOR_HOST": "127.0.0.1:4",
            "GOOGLE_CLOUD_PROJECT": "localdev",
            "SIGNALS_LOCATION": "local",
            "SIGNALS_RECEIVERS": "r:receivers",
        }
        assert expected.items() <= dict(environ).items()
        assert "GUNICORN_CMD_ARGS" not in environ

    def test_listen_on_the_loopback_interface_alone(self) -> None:
        services = self.services()
        for command in services.apps():
            assert command.arguments[command.arguments.index("--bind") + 1].startswith("127.0.0.1:")

    def test_are_found_by_the_names_that_the_worker_uses(self) -> None:
        services = self.services(SIGNALS_SERVICE="background", SIGNALS_QUEUE="other")
        assert "background=http://127.0.0.1:2" in services.cron().arguments
        assert "default=http://127.0.0.1:1" in services.tasks_emulator().arguments
        assert services.team.queue == "other"
        assert services.service_environ(services.team.worker)["GAE_SERVICE"] == "background"

    def test_tell_cron_to_hurry_if_asked_to(self) -> None:
        arguments = self.services().cron().arguments
        assert arguments[arguments.index("--every") + 1] == "2.5"

    def test_leave_the_name_worker_to_modules_of_a_team(self, root: Path) -> None:
        (root / "worker.py").write_text("MINE = True\n")
        (root / "mine.py").write_text(
            "from gaesignals import Receivers\nfrom worker import MINE\nreceivers = Receivers()\n"
        )
        options = Options((root,), "mine:receivers", "mine:receivers", 1, 2, 3, 4, cron_every_seconds=None)
        environ = dict(os.environ)
        preflights = Services(options, read_team(options, environ), PORTS, environ).preflights()
        check = AppCheck(preflights["--receivers mine:receivers"], origin="--receivers")
        try:
            check.raise_problem()
        finally:
            check.close()
