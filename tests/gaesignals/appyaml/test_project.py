"""Which files of a directory are read, and what App Engine's own parsers refuse in them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from gaesignals.appyaml.errors import ConfigError
from gaesignals.appyaml.project import Project
from gaesignals.appyaml.service import Service

from ..cli.checks.conftest import Directory


@pytest.fixture
def directory(tmp_path: Path) -> Directory:
    return Directory(tmp_path)


def test_reads_services_cron_and_queues(directory: Directory) -> None:
    directory.write("app.yaml", "runtime: python312\napp_engine_apis: true\n")
    project = Project.read(directory.path)
    assert [(service.file, service.name) for service in project.services] == [
        ("app.yaml", "default"),
        ("worker.yaml", "worker"),
    ]
    assert [service.name for service in project.workers] == ["worker"]
    assert [service.name for service in project.others] == ["default"]
    assert project.jobs is not None
    assert project.queues is not None
    assert [job.url for job in project.jobs.usable] == ["/cron/drain"]
    assert list(project.queues.usable) == ["signals", "signals-safety", "signals-later"]
    assert project.rules is None
    assert project.problems == ()


def test_files_may_end_in_yml(directory: Directory) -> None:
    for path in list(directory.path.glob("*.yaml")):
        path.rename(path.with_suffix(".yml"))
    project = Project.read(directory.path)
    assert [service.file for service in project.workers] == ["worker.yml"]
    assert {file: path.name for file, path in project.files.items()} == {
        "cron.yaml": "cron.yml",
        "queue.yaml": "queue.yml",
    }
    assert (project.problems, project.name_of("cron.yaml")) == ((), "cron.yml")


def test_several_directories_are_one_project(directory: Directory, tmp_path: Path) -> None:
    directory.write("api/app.yaml", "runtime: python312\n")
    directory.write("api/queue.yaml", "queue:\n- name: other\n  rate: 1/s\n")
    api = tmp_path / "api"
    project = Project.read(api, tmp_path)
    assert [(service.name, service.directory, service.file) for service in project.services] == [
        ("default", api, str(api / "app.yaml")),
        ("worker", tmp_path, str(tmp_path / "worker.yaml")),
    ]
    assert (project.files["queue.yaml"], project.files["cron.yaml"]) == (api / "queue.yaml", tmp_path / "cron.yaml")
    (problem,) = project.problems
    assert (problem.file, problem.code) == (str(tmp_path / "queue.yaml"), "project-wide")
    assert "deploying one pauses the queues of the other" in problem.what


class TestIncludes:
    @pytest.fixture
    def service(self, directory: Directory) -> Callable[[], Service]:
        directory.change("worker.yaml", "env_variables:", "includes: [a.yaml, parts]\nenv_variables:")
        directory.write("a.yaml", "includes: [a.yaml, b.yaml]\nenv_variables:\n  A: a\n  SIGNALS_LOCATION: us-east1\n")
        directory.write("b.yaml", "env_variables:\n  A: b\n  B: b\n")
        directory.write("parts/include.yaml", "handlers:\n- url: /x\n  script: auto\n")
        return lambda: Project.read(directory.path).workers[0]

    def test_are_merged_as_the_sdk_does(self, service: Callable[[], Service]) -> None:
        found = service()
        assert {name: found.environ.get(name) for name in ("A", "B", "SIGNALS_LOCATION")} == {
            "A": "b",
            "B": "b",
            "SIGNALS_LOCATION": "us-east1",
        }
        assert found.environ["SIGNALS_RECEIVERS"] == "shop.receivers:receivers"
        assert [handler.url for handler in found.info.handlers] == ["/x", "/admin/.*", "/metrics", "/.*"]

    @pytest.mark.parametrize(
        ("text", "what"),
        [
            (None, "it includes a.yaml, and there is no such file"),
            ("includes: [3]\n", "a.yaml: it includes 3, and there is no such file"),
            ("runtime: python312\n", "a.yaml: line 1: Unexpected attribute 'runtime'"),
            ("- a\n", "a.yaml: "),
        ],
    )
    def test_that_are_missing_or_broken_are_a_problem(
        self, directory: Directory, service: object, text: str | None, what: str
    ) -> None:
        directory.remove("a.yaml")
        if text is not None:
            directory.write("a.yaml", text)
        (problem,) = [each for each in Project.read(directory.path).problems if each.file == "worker.yaml"]
        assert what in problem.what


@pytest.mark.parametrize("text", ["steps: []\n", "swagger: '2.0'\n", "kind: Service\n", "- a\n", ""])
def test_other_yaml_files_are_left_alone(directory: Directory, text: str) -> None:
    directory.write("other.yaml", text)
    project = Project.read(directory.path)
    assert [service.file for service in project.services] == ["worker.yaml"]
    assert project.problems == ()


def test_a_worker_is_known_by_its_receivers_its_app_or_its_name(directory: Directory) -> None:
    def workers(text: str) -> list[str]:
        directory.write("worker.yaml", text)
        return [service.name for service in Project.read(directory.path).workers]

    assert workers("service: a\nruntime: python312\nenv_variables:\n  SIGNALS_RECEIVERS: a:b\n") == ["a"]
    assert workers("service: a\nruntime: python312\nentrypoint: gunicorn gaesignals_worker.main:app\n") == ["a"]
    assert workers("service: worker\nruntime: python312\n") == ["worker"]
    assert workers("service: a\nruntime: python312\n") == []


@pytest.mark.parametrize(
    ("file", "text", "what"),
    [
        ("worker.yaml", "runtime: python312\nfoo: 1\n", "line 2: Unexpected attribute 'foo'"),
        ("worker.yaml", "runtime: [\n", "line 1: "),
        ("worker.yaml", "service: worker\n", 'You must specify a "runtime" field'),
        ("app.yaml", "", "it has to be a mapping with a `runtime:`"),
        ("cron.yaml", "cron:\n- url: /a\n", "Missing required value [schedule]"),
        ("cron.yaml", "cron:\n  url: /a\n", "each entry with a dash in front"),
        ("queue.yaml", "queue:\n- name: a b\n  rate: 1/s\n", "line 2: "),
        ("queue.yaml", "- a\n", "it has to be a mapping that begins with `queue:`"),
        ("dispatch.yaml", "dispatch:\n- url: a b\n  service: c\n", "invalid url 'a b'"),
        ("dispatch.yaml", "dispatch:\n- url: '*/a'\n", "Missing required value [service]"),
    ],
)
def test_what_app_engine_refuses_is_a_problem_of_the_file(
    directory: Directory, file: str, text: str, what: str
) -> None:
    directory.write(file, text)
    (problem,) = Project.read(directory.path).problems
    assert (problem.file, problem.code) == (file, f"{file.removesuffix('.yaml').replace('worker', 'app')}-yaml")
    assert problem.what.startswith("App Engine refuses the file: ")
    assert what in problem.what
    assert "\n" not in problem.what
    assert problem.remedy.startswith("correct it; https://")


def test_a_file_that_cannot_be_read_is_a_problem(directory: Directory) -> None:
    (directory.path / "queue.yaml").write_bytes(b"\xff\xfe")
    (directory.path / "cron.yaml").unlink()
    (directory.path / "cron.yaml").mkdir()
    problems = Project.read(directory.path).problems
    assert [(each.file, each.code) for each in problems] == [("cron.yaml", "unreadable"), ("queue.yaml", "unreadable")]
    assert "it is not UTF-8" in problems[1].what


def test_what_is_no_directory_is_an_error(directory: Directory) -> None:
    for name in ("cron.yaml", "nowhere"):
        with pytest.raises(ConfigError, match="is no directory"):
            Project.read(directory.path / name)
