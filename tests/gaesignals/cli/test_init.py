"""`gaesignals init`."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from gaesignals.cli.entries import runtime_of

from .checks.conftest import GOOD
from .conftest import Shell


def files_of(directory: Path) -> dict[str, str]:
    return {str(path.relative_to(directory)): path.read_text() for path in directory.rglob("*") if path.is_file()}


def add_receivers(directory: Path) -> None:
    (directory / "shop").mkdir()
    for name in ("shop/__init__.py", "shop/receivers.py", "requirements.txt"):
        (directory / name).write_text(GOOD[name])


def printed_file(output: str, file: str) -> str:
    """The entry that was printed for `file`."""
    lines = output.partition(f" {file}, which is project-wide")[2].splitlines()[2:]
    return "\n".join(lines[: lines.index("") if "" in lines else None]) + "\n"


def test_what_it_writes_and_prints_passes_the_check(shell: Shell, tmp_path: Path) -> None:
    add_receivers(tmp_path)
    outcome = shell("init", str(tmp_path), "--location", "europe-west1")
    assert outcome.code == 0
    assert outcome.lines[0] == f"wrote {tmp_path / 'worker.yaml'}"
    assert "What is left to do" not in outcome.output
    assert "SIGNALS_RECEIVERS: shop.receivers:receivers\n" in (tmp_path / "worker.yaml").read_text()
    for file in ("cron.yaml", "queue.yaml"):
        (tmp_path / file).write_text(printed_file(outcome.output, file))
    assert shell("check", str(tmp_path)).output == "no problem found (worker.yaml, cron.yaml, queue.yaml)\n"


def test_an_empty_directory_gets_a_file_to_fill_in_and_a_list_of_what_is_left(shell: Shell, tmp_path: Path) -> None:
    outcome = shell("init", str(tmp_path))
    assert outcome.code == 0
    assert list(files_of(tmp_path)) == ["worker.yaml"]
    left = outcome.output.partition("What is left to do, as `gaesignals check` says:\n")[2]
    assert [line.split(":")[0] for line in left.splitlines() if not line.startswith(" ")] == [
        "worker.yaml",
        "worker.yaml",
        "requirements.txt",
    ]
    assert "SIGNALS_LOCATION" in left
    assert "there is no module receivers" in left


def test_the_project_wide_files_are_never_written(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "cron.yaml").write_text("cron:\n- url: /other\n  schedule: every day 03:00\n")
    before = files_of(tmp_path)
    outcome = shell("init", str(tmp_path))
    assert "deploying it replaces every cron job of the project" in outcome.output
    assert {name: text for name, text in files_of(tmp_path).items() if name != "worker.yaml"} == before


def test_entries_that_are_there_already_are_not_asked_for(shell: Shell, tmp_path: Path) -> None:
    for file in ("cron.yaml", "queue.yaml"):
        (tmp_path / file).write_text(GOOD[file])
    assert "project-wide" not in shell("init", str(tmp_path)).output


@pytest.mark.parametrize(
    "text",
    [
        "cron:\n- url: /other\n  schedule: every day 03:00\n",
        "cron:\n  # Ours.\n  - url: /other\n    schedule: every day 03:00\n",
        "cron:\n",
    ],
)
def test_what_it_prints_can_be_pasted_under_a_head_that_is_there(shell: Shell, tmp_path: Path, text: str) -> None:
    add_receivers(tmp_path)
    (tmp_path / "cron.yml").write_text(text)
    outcome = shell("init", str(tmp_path), "--location", "europe-west1")
    (tmp_path / "cron.yml").write_text(text + printed_file(outcome.output, "cron.yml"))
    (tmp_path / "queue.yaml").write_text(printed_file(outcome.output, "queue.yaml"))
    assert shell("check", str(tmp_path)).output == "no problem found (worker.yaml, cron.yml, queue.yaml)\n"


def test_the_service_and_its_file_may_have_another_name(shell: Shell, tmp_path: Path) -> None:
    add_receivers(tmp_path)
    theirs = "service: worker\nruntime: nodejs22\n"
    (tmp_path / "worker.yaml").write_text(theirs)
    (tmp_path / "jobs.yaml").write_text("service: jobs\nruntime: nodejs22\n")
    options = ("--location", "europe-west1", "--service", "signals", "--file", "sig.yaml")
    for taken in ("worker", "jobs"):
        outcome = shell("init", str(tmp_path), "--service", taken, "--file", "new.yaml")
        assert (outcome.code, f"{taken} that is no worker of gaesignals" in outcome.errors) == (1, True)
    outcome = shell("init", str(tmp_path), *options)
    assert outcome.lines[0] == f"wrote {tmp_path / 'sig.yaml'}"
    for file in ("cron.yaml", "queue.yaml"):
        (tmp_path / file).write_text(printed_file(outcome.output, file))
    assert "target: signals" in (tmp_path / "cron.yaml").read_text()
    assert shell("check", str(tmp_path)).code == 0
    assert (tmp_path / "worker.yaml").read_text() == theirs


@pytest.mark.parametrize(
    ("option", "value"),
    [("--service", "Worker"), ("--file", "../a.yaml"), ("--file", "a"), ("--location", "mars-west1")],
)
def test_names_that_cannot_be_are_refused(
    shell: Shell, capsys: pytest.CaptureFixture[str], option: str, value: str
) -> None:
    with pytest.raises(SystemExit) as exited:
        shell("init", option, value)
    assert exited.value.code == 2
    assert repr(value) in capsys.readouterr().err


def test_a_worker_yaml_stays_as_it_is(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "worker.yaml").write_text("mine\n")
    outcome = shell("init", str(tmp_path))
    assert (outcome.code, outcome.output) == (1, "")
    assert outcome.errors == f"gaesignals: {tmp_path / 'worker.yaml'} is there already, and stays as it is\n"
    assert files_of(tmp_path) == {"worker.yaml": "mine\n"}


def test_a_second_worker_is_not_written_beside_one_of_another_name(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "app.yaml").write_text("runtime: python312\nenv_variables:\n  SIGNALS_RECEIVERS: a:b\n")
    outcome = shell("init", str(tmp_path))
    assert outcome.code == 1
    assert "app.yaml is there already" in outcome.errors


def test_a_file_that_somebody_writes_meanwhile_stays_as_it_is(shell: Shell, tmp_path: Path) -> None:
    # A link that leads nowhere does not exist, and yet must not be written through.
    (tmp_path / "worker.yaml").symlink_to(tmp_path / "elsewhere")
    outcome = shell("init", str(tmp_path))
    assert outcome.code == 1
    assert "worker.yaml cannot be written: File exists" in outcome.errors
    assert files_of(tmp_path) == {}


# A directory in which nobody may make a file, the superuser included.
READ_ONLY = Path("/proc/self/fdinfo")


@pytest.mark.skipif(not READ_ONLY.exists(), reason="this system has no /proc")
def test_a_directory_that_cannot_be_written_to_is_one_line(shell: Shell) -> None:
    outcome = shell("init", str(READ_ONLY))
    assert (outcome.code, outcome.output) == (1, "")
    assert re.fullmatch(r"gaesignals: /proc/self/fdinfo/worker\.yaml cannot be written: .+\n", outcome.errors)


def test_several_receivers_have_to_be_chosen_from(shell: Shell, tmp_path: Path) -> None:
    add_receivers(tmp_path)
    (tmp_path / "more.py").write_text("import gaesignals\nothers: gaesignals.Receivers = gaesignals.Receivers()\n")
    outcome = shell("init", str(tmp_path))
    assert outcome.code == 2
    assert "more:others, shop.receivers:receivers; choose with --receivers" in outcome.errors
    assert not (tmp_path / "worker.yaml").exists()
    assert shell("init", str(tmp_path), "--receivers", "more:others").code == 0
    assert "SIGNALS_RECEIVERS: more:others\n" in (tmp_path / "worker.yaml").read_text()


def test_json_says_what_was_written_and_what_is_left(shell: Shell, tmp_path: Path) -> None:
    add_receivers(tmp_path)
    answer = shell("init", str(tmp_path), "--location", "europe-west1", "--json").json
    assert answer["written"] == str(tmp_path / "worker.yaml")
    assert list(answer["entries"]) == ["cron.yaml", "queue.yaml"]
    assert answer["problems"] == []


@pytest.mark.parametrize(
    ("version", "name"), [((3, 9), "python310"), ((3, 10), "python310"), ((3, 12), "python312"), ((3, 14), "python313")]
)
def test_the_runtime_is_this_python_within_what_is_supported(version: tuple[int, int], name: str) -> None:
    assert runtime_of(version) == name


@pytest.mark.parametrize("theirs", ["python310", "python313"])
def test_the_runtime_is_the_one_of_the_default_service(shell: Shell, tmp_path: Path, theirs: str) -> None:
    (tmp_path / "app.yaml").write_text(f"runtime: {theirs}\n")
    (tmp_path / "api.yaml").write_text("service: api\nruntime: python311\n")
    assert shell("init", str(tmp_path)).code == 0
    assert f"\nruntime: {theirs}\n" in (tmp_path / "worker.yaml").read_text()


@pytest.mark.parametrize("theirs", ["python39", "nodejs20"])
def test_a_runtime_that_the_worker_cannot_have_is_not_taken_over(shell: Shell, tmp_path: Path, theirs: str) -> None:
    (tmp_path / "app.yaml").write_text(f"runtime: {theirs}\n")
    assert shell("init", str(tmp_path)).code == 0
    assert f"\nruntime: {runtime_of(sys.version_info[:2])}\n" in (tmp_path / "worker.yaml").read_text()


def test_a_region_that_cannot_be_is_a_usage_error(shell: Shell, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        shell("init", "--location", "Europe: west")
    assert "is no region" in capsys.readouterr().err
