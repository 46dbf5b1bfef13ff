"""Runtime, bundled services, scaling and entrypoint."""

from __future__ import annotations

import pytest

from gaesignals.cli.checks.runtime import check_runtime

from .conftest import Directory

SENDER = "runtime: python312\napp_engine_apis: true\n"


def test_a_directory_that_deploys_well_has_no_problem(directory: Directory) -> None:
    directory.write("app.yaml", SENDER)
    assert directory.problems(check_runtime) == []


@pytest.mark.parametrize(
    ("old", "new", "code", "what", "remedy"),
    [
        ("app_engine_apis: true", "app_engine_apis: false", "app-engine-apis", "no memcache", "app_engine_apis: true"),
        ("app_engine_apis: true\n", "", "app-engine-apis", "nothing is delivered", "app_engine_apis: true"),
        ("instance_class: B2", "instance_class: F2", "instance-class", "F2 with basic or manual", "use B1"),
        ("idle_timeout: 10m", "idle_timeout: 30s", "idle-timeout", "an idle_timeout of 30 s", "idle_timeout: 10m"),
        ("idle_timeout: 10m", f"idle_timeout: {'9' * 5000}m", None, "", ""),
        ("--timeout 0 ", "--timeout 120 ", None, "", ""),
        ("--threads 8", f"--threads {'9' * 5000}", None, "", ""),
        ("--timeout 0 ", "--timeout 120 --threads=1 ", "gunicorn-timeout", "ends a request after 120 s", "--timeout 0"),
        ("--threads 8 --timeout 0", "", "gunicorn-timeout", "ends a request after 30 s", "--timeout 0"),
        ("--timeout 0", "--timeout=60 -k sync", "gunicorn-timeout", "ends a request after 60 s", "--timeout 0"),
        ("--bind :$PORT", "--bind :8000", "port", "listens at :8000", "--bind :$PORT"),
        ("--bind :$PORT", "-b 0.0.0.0:${PORT}", None, "", ""),
        ("--bind :$PORT ", "", None, "", ""),
        (
            "--threads 8",
            "--threads 8 -k gevent",
            "worker-class",
            "an event loop of their own, which gevent",
            "--threads 8",
        ),
        (
            "--threads 8",
            "--threads 8 --worker-class=eventlet",
            "worker-class",
            "which eventlet does not",
            "--threads 8",
        ),
        ("--threads 8", "-k uvicorn.workers.UvicornWorker", "worker-class", "uvicorn.workers", "--threads 8"),
        ("--threads 8", "--threads 8 -k gthread", None, "", ""),
        ("--threads 8", "--threads 8 --header-map dangerous", "header-map", "of anybody passes for", "remove it"),
        ("--threads 8", "--threads 8 --header-map refuse", None, "", ""),
        (
            "service: worker",
            "service: signals",
            "service-name",
            "tasks go to the service worker",
            "SIGNALS_SERVICE: signals",
        ),
        ("service: worker", "", "service-name", "this is the default service", "SIGNALS_SERVICE: default"),
        (
            "env_variables:",
            "env_variables:\n  SIGNALS_SERVICE: other",
            "service-name",
            "go to the service other",
            "other",
        ),
        (
            "basic_scaling:\n  max_instances: 5\n  idle_timeout: 10m\n",
            "automatic_scaling:\n  max_instances: 5\n",
            "instance-class",
            "B2 with automatic scaling",
            "basic_scaling",
        ),
    ],
)
def test_of_a_worker(directory: Directory, old: str, new: str, code: str | None, what: str, remedy: str) -> None:
    directory.change("worker.yaml", old, new)
    if code is None:
        assert directory.problems(check_runtime) == []
        return
    problem = directory.only(check_runtime)
    assert (problem.file, problem.code) == ("worker.yaml", code)
    assert what in problem.what
    assert remedy in problem.remedy


@pytest.mark.parametrize("runtime", ["python39", "python27", "nodejs22", "python3"])
def test_an_older_runtime_or_another_language_is_a_problem(directory: Directory, runtime: str) -> None:
    text = (directory.path / "worker.yaml").read_text()
    lines = [f"runtime: {runtime}" if line.startswith("runtime:") else line for line in text.splitlines()]
    directory.write("worker.yaml", "\n".join(lines))
    assert [problem.code for problem in directory.problems(check_runtime)] == ["runtime"]


def test_the_flexible_environment_is_a_problem(directory: Directory) -> None:
    directory.change("worker.yaml", "app_engine_apis: true", "env: flex")
    assert "flexible" in [problem.code for problem in directory.problems(check_runtime)]


def test_an_entrypoint_that_app_engine_chooses_is_not_the_worker(directory: Directory) -> None:
    directory.change("worker.yaml", "entrypoint:", "#")
    problem = directory.only(check_runtime)
    assert problem.code == "entrypoint"
    assert "gaesignals_worker.main:app" in problem.remedy


def test_a_service_that_sends_needs_the_bundled_services(directory: Directory) -> None:
    directory.write("app.yaml", "runtime: python312\n")
    problem = directory.only(check_runtime)
    assert (problem.file, problem.code) == ("app.yaml", "app-engine-apis")
    assert "every send fails" in problem.what


def test_the_file_that_gunicorn_reads_counts_as_its_options_do(directory: Directory) -> None:
    directory.change("worker.yaml", " --threads 8 --timeout 0", "")
    directory.write("gunicorn.conf.py", "threads = 8\nheader_map = 'dangerous'\n")
    assert directory.only(check_runtime).code == "header-map"
    directory.write("gunicorn.conf.py", "import os\nthreads = int(os.environ['THREADS'])\n")
    assert directory.problems(check_runtime) == []


def test_a_service_that_never_imports_the_library_does_not_send(directory: Directory) -> None:
    directory.write("batch.yaml", "service: batch\nruntime: python39\nentrypoint: gunicorn -b :$PORT batch:app\n")
    directory.write("batch.py", "import json\n")
    assert directory.problems(check_runtime) == []
    directory.write("batch.py", "from shop import receivers\n")
    assert [problem.code for problem in directory.problems(check_runtime)] == ["runtime", "app-engine-apis"]


def test_a_service_in_another_language_does_not_send(directory: Directory) -> None:
    directory.write("app.yaml", "runtime: nodejs22\n")
    assert directory.problems(check_runtime) == []


def test_a_service_that_sends_where_no_worker_looks_is_a_problem(directory: Directory) -> None:
    directory.write("app.yaml", f"{SENDER}env_variables:\n  SIGNALS_NAMESPACE: test\n")
    problem = directory.only(check_runtime)
    assert (problem.file, problem.code) == ("app.yaml", "namespace")
    directory.change("worker.yaml", "env_variables:", "env_variables:\n  SIGNALS_NAMESPACE: test")
    assert directory.problems(check_runtime) == []
