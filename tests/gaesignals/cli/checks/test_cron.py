"""cron.yaml."""

from __future__ import annotations

import pytest

from gaesignals.cli.checks.cron import check_cron

from .conftest import GOOD, Directory


def test_a_file_with_the_workers_job_has_no_problem(directory: Directory) -> None:
    assert directory.problems(check_cron) == []


@pytest.mark.parametrize(
    ("old", "new", "code", "what", "remedy"),
    [
        ("every 1 minutes", "every banana", "schedule", "'every banana' is not a schedule", '"every 5 minutes"'),
        ("every 1 minutes", "every 10 minutes", "cron-rare", "'every 10 minutes'", "every 1 minutes"),
        (
            "every 1 minutes",
            "every 1 minutes from 09:00 to 17:00",
            "cron-rare",
            "wait for that long",
            "every 1 minutes",
        ),
        ("/cron/drain", "/cron/rain", "cron-drain", "no job calls /cron/drain", "target: worker"),
        ("target: worker", "target: shop", "cron-target", "goes to the service shop", "`target: worker`"),
        ("  target: worker\n", "", "cron-target", "goes to the service default", "`target: worker`"),
        (
            "target: worker\n",
            "target: worker\n  retry_parameters:\n    job_retry_limit: 6\n",
            "job-retries",
            "a job_retry_limit of 6",
            "use 5 at most",
        ),
    ],
)
def test_a_job(directory: Directory, old: str, new: str, code: str, what: str, remedy: str) -> None:
    directory.change("cron.yaml", old, new)
    problem = directory.only(check_cron)
    assert (problem.file, problem.code) == ("cron.yaml", code)
    assert what in problem.what
    assert remedy in problem.remedy


@pytest.mark.parametrize(
    "schedule", ["every 2 minutes", "every 1 minutes synchronized", "every 1 minutes from 00:00 to 23:59"]
)
def test_schedules_that_are_often_enough(directory: Directory, schedule: str) -> None:
    directory.change("cron.yaml", "every 1 minutes", schedule)
    assert directory.problems(check_cron) == []


def test_cron_may_come_as_seldom_as_the_worker_is_told(directory: Directory) -> None:
    directory.change("cron.yaml", "every 1 minutes", "every 10 minutes")
    assert 'SIGNALS_CRON_SECONDS: "600"` in worker.yaml' in directory.only(check_cron).remedy
    directory.change("worker.yaml", "env_variables:\n", 'env_variables:\n  SIGNALS_CRON_SECONDS: "600"\n')
    assert directory.problems(check_cron) == []
    directory.change("cron.yaml", "every 10 minutes", "every 20 minutes")
    problem = directory.only(check_cron)
    assert "worker.yaml says SIGNALS_CRON_SECONDS=600" in problem.what
    assert 'set `SIGNALS_CRON_SECONDS: "1200"`' in problem.remedy


@pytest.mark.parametrize("told", ["soon", "-1", "nan", "inf"])
def test_a_setting_that_cannot_be_excuses_nothing(directory: Directory, told: str) -> None:
    directory.change("cron.yaml", "every 1 minutes", "every 10 minutes")
    directory.change("worker.yaml", "env_variables:\n", f'env_variables:\n  SIGNALS_CRON_SECONDS: "{told}"\n')
    assert directory.only(check_cron).code == "cron-rare"


def test_a_version_may_be_named_in_the_target(directory: Directory) -> None:
    directory.change("cron.yaml", "target: worker", "target: worker:v2")
    assert directory.problems(check_cron) == []


def test_every_job_is_looked_at_since_one_keeps_all_from_being_deployed(directory: Directory) -> None:
    directory.write("cron.yaml", "cron:\n" + "- url: /other\n  schedule: sometimes\n  target: shop\n" * 2)
    assert [problem.code for problem in directory.problems(check_cron)] == ["schedule", "schedule", "cron-drain"]


def test_a_missing_file_is_a_problem(directory: Directory) -> None:
    directory.remove("cron.yaml")
    problem = directory.only(check_cron)
    assert (problem.file, problem.code) == ("cron.yaml", "cron-missing")
    assert "replaces every job of the project" in problem.remedy


def test_a_file_that_cannot_be_read_is_no_second_problem(directory: Directory) -> None:
    directory.write("cron.yaml", "- a\n")
    assert directory.only(check_cron).code == "cron-yaml"


@pytest.mark.parametrize("target", ["", "  target: shop\n"])
def test_a_job_that_is_to_send_goes_to_the_worker(directory: Directory, target: str) -> None:
    """Without a target it goes to the default service, which knows nothing of it."""
    job = f"- url: /cron/send/order_paid?a=1\n  schedule: every 24 hours\n{target}"
    directory.change("cron.yaml", "cron:\n", f"cron:\n{job}")
    problem = directory.only(check_cron)
    assert (problem.file, problem.code) == ("cron.yaml", "cron-target")
    assert "/cron/send/order_paid goes to the service" in problem.what
    assert "set `target: worker`" in problem.remedy


def test_a_job_that_is_to_send_may_go_to_any_worker(directory: Directory) -> None:
    directory.write("other.yaml", GOOD["worker.yaml"].replace("service: worker", "service: other"))
    job = "- {url: /cron/send/order_paid, schedule: every 24 hours, target: other}\n"
    drain = "- {url: /cron/drain, schedule: every 1 minutes, target: other}\n"
    directory.change("cron.yaml", "cron:\n", f"cron:\n{job}{drain}")
    assert directory.problems(check_cron) == []
