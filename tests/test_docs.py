"""Every Python snippet of README and docs runs, in order, as a reader would run it."""

from __future__ import annotations

import re
import shlex
import sys
import types
from pathlib import Path

import pytest

from benchmarks.calls import table
from gaesignals.cli.main import build_parser
from gaesignals.mailbox.box import Mailbox
from gaesignals.mailbox.current import use_mailbox
from gaesignals.testing import MemoryStore, MemoryTasks

ROOT = Path(__file__).parent.parent
# Their snippets are the files of a project: tests/e2e/test_quickstart.py follows the one, and the other is followed by
# tests/gaesignals/integrations/test_django.py.
PROJECTS = {ROOT / "docs" / "quickstart.md", ROOT / "docs" / "django.md"}
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")])
SNIPPET_PAGES = [page for page in PAGES if page not in PROJECTS]
SHELL = re.compile(r"^ *```(?:sh|console)\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"^ *(?:\$ )?(?:\.venv/bin/)?gaesignals (.+)$", re.MULTILINE)
SNIPPET = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", SNIPPET_PAGES, ids=lambda page: page.name)
def test_the_snippets_of_a_page_run(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All in one module, which dataclasses look up their types in."""
    module = types.ModuleType("snippets")
    monkeypatch.setitem(sys.modules, "snippets", module)
    with use_mailbox(Mailbox(MemoryStore(), tasks=MemoryTasks())):
        for snippet in SNIPPET.finditer(page.read_text()):
            line = page.read_text()[: snippet.start()].count("\n") + 1
            code = compile("\n" * line + snippet[1], str(page), "exec")
            exec(code, module.__dict__)


@pytest.mark.parametrize("page", SNIPPET_PAGES, ids=lambda page: page.name)
def test_the_tests_on_a_page_pass(page: Path, pytester: pytest.Pytester) -> None:
    """Those of each snippet in a file of their own."""
    snippets = [snippet[1] for snippet in SNIPPET.finditer(page.read_text()) if "\ndef test_" in snippet[1]]
    for number, snippet in enumerate(snippets):
        path = pytester.path / f"test_{page.stem}_{number}.py"
        path.write_text(snippet)
        result = pytester.runpytest_inprocess("-p", "gaesignals.pytest_plugin", "-W", "error", path)
        result.assert_outcomes(passed=snippet.count("\ndef test_"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_command_line_takes_the_commands_on_a_page(page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command in COMMAND.findall("".join(SHELL.findall(page.read_text()))):
        try:
            build_parser().parse_args(shlex.split(command, comments=True))
        except SystemExit:
            pytest.fail(f"{command}: {capsys.readouterr().err}")


def test_the_readme_has_running_code_in_its_first_25_lines() -> None:
    head = "\n".join((ROOT / "README.md").read_text().splitlines()[:25])
    assert SNIPPET.search(head)


def test_the_readme_is_short_and_says_first_what_memcache_may_do() -> None:
    text = (ROOT / "README.md").read_text()
    assert len(text.split()) < 1200
    assert "memcache may forget anything at any time" in " ".join(text.splitlines()[:25])
    assert text.index("## Add it to your app") < text.index("SignalsMiddleware")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_files_that_a_page_links_to_exist(page: Path) -> None:
    for target in re.findall(r"\]\((?!http)([^)#]+)", page.read_text()):
        assert (page.parent / target).exists(), target


def test_the_table_of_calls_in_the_readme_is_what_its_command_prints() -> None:
    assert table() in (ROOT / "README.md").read_text()
