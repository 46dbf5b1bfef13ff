"""The store of each service."""

from __future__ import annotations

import pytest

from gaesignals.cli.checks.requirements import check_requirements
from gaesignals.cli.checks.runtime import check_runtime
from gaesignals.cli.checks.store import check_store
from tests.servers import NO_FILES, Server

from .conftest import Directory

URL = "valkey://:secret@127.0.0.1:1"
CONNECTOR = "vpc_access_connector:\n  name: projects/p/locations/europe-west1/connectors/c\n"
SENDER = f"runtime: python312\nenv_variables:\n  SIGNALS_STORE: {URL}\n{CONNECTOR}"


def use(directory: Directory, url: str = URL, connector: str = CONNECTOR) -> None:
    """Let the worker keep signals there."""
    directory.change("worker.yaml", "env_variables:", f"{connector}env_variables:\n  SIGNALS_STORE: {url}")


def test_memcache_for_everybody_is_no_problem(directory: Directory) -> None:
    directory.write("app.yaml", "runtime: python312\napp_engine_apis: true\n")
    assert directory.problems(check_store) == []


def test_a_server_for_everybody_that_is_within_reach_is_no_problem_and_needs_no_bundled_services(
    directory: Directory,
) -> None:
    use(directory)
    directory.write("app.yaml", SENDER)
    directory.change("worker.yaml", "app_engine_apis: true", "")
    assert directory.problems(check_store) == []
    assert directory.problems(check_runtime) == []


def test_a_sender_that_adds_tasks_through_the_bundled_services_needs_them(directory: Directory) -> None:
    use(directory)
    directory.write("app.yaml", SENDER.replace("env_variables:", "env_variables:\n  SIGNALS_TASKS: app_engine"))
    assert directory.only(check_runtime).code == "app-engine-apis"


def test_a_sender_may_run_in_the_flexible_environment_which_is_in_a_network(directory: Directory) -> None:
    use(directory)
    directory.write("app.yaml", SENDER.replace(CONNECTOR, "env: flex\n"))
    assert directory.problems(check_runtime) == []
    assert directory.problems(check_store) == []


def test_without_a_connector_the_server_is_out_of_reach(directory: Directory) -> None:
    use(directory, connector="")
    problem = directory.only(check_store)
    assert (problem.file, problem.code) == ("worker.yaml", "vpc-connector")
    assert "vpc_access_connector" in problem.remedy
    assert "127.0.0.1" in problem.what
    assert "secret" not in str(problem)


@pytest.mark.parametrize("url", [URL.replace("127.0.0.1", "127.0.0.2"), "memcache"])
def test_a_sender_that_stores_where_no_worker_looks_is_a_problem(directory: Directory, url: str) -> None:
    use(directory)
    directory.write("app.yaml", SENDER.replace(URL, url))
    problem = directory.only(check_store)
    assert (problem.file, problem.code) == ("app.yaml", "store")
    assert "secret" not in str(problem)


@pytest.mark.parametrize("url", ["valkey://[secret", "valkey://:se/secret@127.0.0.1", "http://:secret@127.0.0.1"])
def test_a_value_that_is_no_store_is_the_one_problem_of_a_service(directory: Directory, url: str) -> None:
    directory.write("app.yaml", SENDER.replace(URL, url).replace(CONNECTOR, ""))
    problem = directory.only(check_store)
    assert (problem.file, problem.code, problem.what) == ("app.yaml", "store", "SIGNALS_STORE='...'")
    assert "valkey://" in problem.remedy or "%2F" in problem.remedy
    assert "secret" not in str(problem)
    use(directory, url, connector="")
    assert directory.only(check_store).file == "app.yaml", "the worker's settings say it of the worker"


@pytest.mark.parametrize(("policy", "what"), [("allkeys-lru", "anything"), ("volatile-ttl", "segments and bundles")])
def test_a_server_that_answers_from_here_and_evicts_is_a_problem_and_no_line_of_the_log(
    directory: Directory, policy: str, what: str, caplog: pytest.LogCaptureFixture
) -> None:
    with Server(*NO_FILES, "--maxmemory-policy", policy) as server:
        use(directory, server.url)
        directory.write("app.yaml", SENDER.replace(URL, server.url))
        problem = directory.only(check_store)
        assert (problem.file, problem.code) == ("worker.yaml", "eviction")
        assert what in problem.what
        assert "noeviction" in problem.remedy
        assert not caplog.records
        server.command("CONFIG", "SET", "maxmemory-policy", "noeviction")
        assert directory.problems(check_store) == []


@pytest.mark.parametrize(
    ("text", "is_enough"),
    [
        ("gaesignals[worker]\n", False),
        ("gaesignals[valkey,worker]\n", True),
        ("gaesignals[worker]\nredis>=6\n", True),
    ],
)
def test_the_client_has_to_be_among_the_requirements(directory: Directory, text: str, is_enough: bool) -> None:
    directory.write("requirements.txt", text)
    assert directory.problems(check_requirements) == []
    use(directory)
    codes = [problem.code for problem in directory.problems(check_requirements)]
    assert codes == ([] if is_enough else ["requirements-valkey"])


def test_a_url_that_cannot_be_is_left_to_the_worker_s_settings(directory: Directory) -> None:
    use(directory, "valkey://127.0.0.1/shop")
    assert directory.problems(check_store) == []
