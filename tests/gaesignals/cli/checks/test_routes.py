"""Handlers and dispatch rules that keep requests from the worker."""

from __future__ import annotations

import pytest

from gaesignals.cli.checks.routes import check_dispatch, check_handlers

from .conftest import GOOD, Directory

WITHOUT_HANDLERS = GOOD["worker.yaml"].partition("handlers:")[0]


@pytest.mark.parametrize(
    "handlers",
    [
        "",
        "handlers:\n- url: /.*\n  script: auto\n",
        "handlers:\n- url: /static\n  static_dir: s\n- url: .*\n  script: auto\n",
    ],
)
def test_handlers_that_let_everything_through(directory: Directory, handlers: str) -> None:
    directory.write("worker.yaml", WITHOUT_HANDLERS + handlers)
    assert directory.problems(check_handlers) == []


@pytest.mark.parametrize("login", ["admin", "required"])
def test_a_login_on_the_admin_page_turns_scripts_away(directory: Directory, login: str) -> None:
    directory.change("worker.yaml", "- url: /admin/.*\n", f"- url: /admin/.*\n  login: {login}\n")
    problem = directory.only(check_handlers)
    assert (problem.file, problem.code) == ("worker.yaml", "login")
    assert problem.what.startswith(f"`login: {login}` on /admin/.* turns administrators and scripts away")


@pytest.mark.parametrize(("login", "count"), [("required", 3), ("admin", 1)])
def test_cron_and_tasks_pass_a_login_of_administrators(directory: Directory, login: str, count: int) -> None:
    directory.write("worker.yaml", f"{WITHOUT_HANDLERS}handlers:\n- url: /.*\n  script: auto\n  login: {login}\n")
    assert [problem.code for problem in directory.problems(check_handlers)] == ["login"] * count


def test_static_files_in_the_place_of_a_route_are_a_problem(directory: Directory) -> None:
    handlers = "handlers:\n- url: /tasks\n  static_dir: t\n- url: /.*\n  script: auto\n"
    directory.write("worker.yaml", WITHOUT_HANDLERS + handlers)
    problem = directory.only(check_handlers)
    assert problem.code == "handler-static"
    assert "serves /tasks/deliver from files, so Cloud Tasks would not reach" in problem.what


def test_a_route_without_a_handler_is_a_problem(directory: Directory) -> None:
    handlers = "handlers:\n- url: /(cron|tasks)/.*\n  script: auto\n"
    directory.write("worker.yaml", WITHOUT_HANDLERS + handlers)
    problem = directory.only(check_handlers)
    assert problem.code == "handler-missing"
    assert "no handler takes /admin/status" in problem.what


def rules(*pairs: str) -> str:
    return "dispatch:\n" + "".join(
        f'- url: "{url}"\n  service: {service}\n' for url, service in (pair.split() for pair in pairs)
    )


@pytest.mark.parametrize(
    "text",
    [
        "dispatch: []\n",
        rules("*/shop/* shop"),
        rules("*/cron/* worker", "*/tasks/* worker", "*/admin/* worker", "*/* shop"),
        rules("www.example.com/* shop"),
        rules("*.example.com/* shop"),
        rules("shop-dot-shop.uc.r.appspot.com/* shop"),
        rules("*/cron shop", "*/cron/drain/* shop"),
        rules("worker-dot-shop.uc.r.appspot.com/* worker", "worker.shop.appspot.com/* worker"),
    ],
)
def test_rules_that_leave_the_worker_its_requests(directory: Directory, text: str) -> None:
    directory.write("dispatch.yaml", text)
    assert directory.problems(check_dispatch) == []


@pytest.mark.parametrize(
    ("text", "paths"),
    [
        (rules("*/cron/* shop"), ["/cron/drain"]),
        (rules("*/tasks/deliver shop"), ["/tasks/deliver"]),
        (rules("*/admin* shop"), ["/admin/status"]),
        (rules("*/* shop", "*/cron/* worker"), ["/cron/drain", "/tasks/deliver", "/admin/status"]),
        (rules("*.appspot.com/cron/* shop"), ["/cron/drain"]),
        (rules("worker-dot-shop.uc.r.appspot.com/* shop"), ["/cron/drain", "/tasks/deliver", "/admin/status"]),
    ],
)
def test_rules_that_send_the_workers_requests_elsewhere(directory: Directory, text: str, paths: list[str]) -> None:
    directory.write("dispatch.yaml", text)
    problems = directory.problems(check_dispatch)
    assert {problem.code for problem in problems} == {"dispatch-steals"}
    assert [problem.what.split(" sends ")[1].split()[0] for problem in problems] == paths
    assert all("service: worker" in problem.remedy for problem in problems)


def test_app_engine_takes_twenty_rules(directory: Directory) -> None:
    directory.write("dispatch.yaml", rules(*(f"*/a{number}/* shop" for number in range(21))))
    assert directory.only(check_dispatch).code == "dispatch-rules"
