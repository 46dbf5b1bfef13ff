"""requirements.txt."""

from __future__ import annotations

import pytest

from gaesignals.cli.checks.requirements import check_requirements

from .conftest import Directory


@pytest.mark.parametrize(
    "text",
    [
        "gaesignals[worker]\n",
        "GAE-nothing\ngaesignals[worker,other]>=0.1,<1 ; python_version > '3'\n",
        "gaesignals\nFlask>=3\nGunicorn==23  # fixed\n",
        "gaesignals[worker] @ https://example.com/gaesignals-0.1.0-py3-none-any.whl\n",
        "-r shop/more.txt\n",
    ],
)
def test_requirements_that_are_enough(directory: Directory, text: str) -> None:
    directory.write("shop/more.txt", "gaesignals[worker]\n")
    directory.write("requirements.txt", text)
    assert directory.problems(check_requirements) == []


@pytest.mark.parametrize(
    ("text", "code", "what"),
    [
        ("", "requirements", "gaesignals is not in it"),
        ("flask\n# gaesignals\nmygaesignals2\n", "requirements", "gaesignals is not in it"),
        ("gaesignals\n", "requirements-worker", "the worker needs flask and gunicorn, and"),
        ("gaesignals\nflask\n", "requirements-worker", "the worker needs gunicorn, and"),
    ],
)
def test_what_is_missing_is_a_problem(directory: Directory, text: str, code: str, what: str) -> None:
    directory.write("requirements.txt", text)
    problem = directory.only(check_requirements)
    assert (problem.file, problem.code) == ("requirements.txt", code)
    assert what in problem.what
    assert "gaesignals[worker]" in problem.remedy


def test_a_missing_file_is_a_problem_unless_the_build_reads_another(directory: Directory) -> None:
    directory.remove("requirements.txt")
    assert directory.only(check_requirements).code == "requirements-missing"
    directory.write("pyproject.toml", "[project]\n")
    assert directory.problems(check_requirements) == []


def test_a_source_tree_of_the_library_need_not_be_installed(directory: Directory) -> None:
    directory.write("requirements.txt", "flask\ngunicorn\n")
    directory.write("gaesignals/__init__.py", "")
    assert directory.problems(check_requirements) == []
