"""The command line as a whole: help, exit codes, and how it ends."""

from __future__ import annotations

import os
import re
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gaesignals.cli.main import build_parser, main

from .conftest import Ask, Shell, Worker

ROOT = Path(__file__).parents[3]
COMMANDS = ["", "status", "drain", "send", "pause", "resume", "discard", "dead", "check", "init"]
COMMANDS += ["dead list", "dead show", "dead payload", "dead requeue", "dead drop"]


@pytest.fixture
def heeded_sigint() -> Iterator[None]:
    """A shell ignores SIGINT for what it starts in the background, and so would the processes that a test starts."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*command.split(), "--help"])
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith(f"usage: gaesignals {command}".rstrip())


def test_help_says_what_the_exit_codes_mean() -> None:
    text = build_parser().format_help()
    assert re.findall(r"^  (\d+) ", text, re.MULTILINE) == ["0", "1", "2", "3", "130"]


@pytest.mark.parametrize("command", ["status", "drain", "send", "pause", "resume", "discard", "check", "init"])
def test_each_command_says_what_its_exit_code_1_means(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([command, "--help"])
    assert "Exit code 1: " in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [[], ["stauts"], ["status", "--colour"], ["status", "--timeout", "0"], ["dead"]])
def test_a_command_line_that_cannot_be_is_one_line_and_2(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("gaesignals")
    assert line.endswith("(--help says more)")


def test_an_error_is_one_line_and_its_code(shell: Shell) -> None:
    outcome = shell("status", "--url", "https://worker.invalid")
    assert outcome.code == 3
    assert outcome.output == ""
    assert re.fullmatch(r"gaesignals: cannot reach https://worker\.invalid: .*\n", outcome.errors)


def test_a_token_is_never_sent_over_plain_http(shell: Shell) -> None:
    shell.environ["GAESIGNALS_TOKEN"] = "secret"
    outcome = shell("status", "--url", "http://worker.invalid")
    assert outcome.code == 2
    assert "use https://" in outcome.errors


def test_ctrl_c_is_130(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("gaesignals.cli.client.Client.post", interrupt)
    outcome = ask("drain", "--wait")
    assert (outcome.code, outcome.errors) == (130, "interrupted\n")


class TestProcess:
    """`python -m gaesignals`, as a shell starts it."""

    COMMAND = (sys.executable, "-m", "gaesignals")

    def test_runs(self) -> None:
        done = subprocess.run([*self.COMMAND, "--version"], cwd=ROOT, capture_output=True, text=True, check=True)
        assert re.fullmatch(r"gaesignals \S+\n", done.stdout)

    def test_local_is_the_local_cloud_with_its_own_options(self) -> None:
        done = subprocess.run([*self.COMMAND, "local", "--help"], cwd=ROOT, capture_output=True, text=True, check=True)
        assert "--cron-every SECONDS" in done.stdout

    def test_local_says_what_to_install_where_it_is_not(self) -> None:
        code = "import sys; sys.modules['grpc'] = None; from gaesignals.cli.main import main; sys.exit(main(['local']))"
        done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr == (
            "gaesignals: the local cloud is not installed (grpc missing); run: pip install 'gaesignals[local]'\n"
        )

    @pytest.mark.usefixtures("heeded_sigint")
    def test_ctrl_c_ends_it_without_a_traceback(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            url = f"http://127.0.0.1:{silent.getsockname()[1]}"
            process = subprocess.Popen(
                [*self.COMMAND, "drain", "--wait", "--url", url], cwd=ROOT, stderr=subprocess.PIPE, text=True
            )
            connection, _ = silent.accept()
            with connection:
                os.kill(process.pid, signal.SIGINT)
                _, errors = process.communicate(timeout=60)
        assert (process.returncode, errors) == (130, "interrupted\n")

    @pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
    def test_a_full_disk_is_one_line(self, worker: Worker) -> None:
        with Path("/dev/full").open("w") as full:
            command = [*self.COMMAND, "dead", "list", "--url", worker.url]
            done = subprocess.run(command, cwd=ROOT, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
        assert done.returncode == 1
        assert re.fullmatch(r"gaesignals: the result cannot be written: .*\n", done.stderr)

    def test_a_directory_that_cannot_be_read_is_one_line(self) -> None:
        command = [*self.COMMAND, "check", "x" * 300]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (1, "")
        # Before it, Google's libraries may warn of an old Python. For 3.14 what cannot be looked at is no directory.
        assert re.fullmatch(r"gaesignals: .*(File name too long|is no directory).*", done.stderr.splitlines()[-1])
        assert "Traceback" not in done.stderr

    def test_a_reader_that_has_seen_enough_is_no_traceback(self, worker: Worker) -> None:
        reading, writing = os.pipe()
        os.close(reading)
        command = [*self.COMMAND, "status", "--url", worker.url]
        done = subprocess.run(command, cwd=ROOT, stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
        os.close(writing)
        assert (done.returncode, done.stderr) == (1, "")

    def test_a_name_that_the_terminals_encoding_lacks_is_escaped(self) -> None:
        environ = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
        command = [*self.COMMAND, "status", "--url", "http://localhost/grün"]
        done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False)
        assert done.returncode == 2
        assert r"gr\xfcn" in done.stderr


def documented() -> list[str]:
    return re.findall(r"^\$ gaesignals (.*)$", (ROOT / "docs" / "cli.md").read_text(), re.MULTILINE)


@pytest.mark.parametrize("line", documented())
def test_every_command_line_of_the_documentation_can_be_read(line: str) -> None:
    assert build_parser().parse_args(shlex.split(line)).run


def test_every_command_is_documented() -> None:
    page = (ROOT / "docs" / "cli.md").read_text()
    assert [command for command in COMMANDS if f"`{command}" not in page] == []
