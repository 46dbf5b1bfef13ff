"""The pytest plugin, by running pytest inside pytest: as a team's tests use it, and where nobody does."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PLUGIN = "gaesignals.pytest_plugin"
OPTIONS = ("-p", PLUGIN, "-W", "error", "-p", "no:cacheprovider")
SHOP = """
    from gaesignals import Receivers, Signal

    receivers = Receivers()
    order_paid = Signal("order_paid")
    stock = {"book": 1}

    @receivers.receiver(order_paid, reliable=True, max_attempts=3, backoff_seconds=30)
    def take_from_stock(order):
        if not stock[order["item"]]:
            raise LookupError("sold out")
        stock[order["item"]] -= 1

    def pay(item):
        order_paid.send({"item": item})
"""
TESTS = """
    import threading
    import pytest
    import bookshop

    def test_paying_sends_a_signal(signals):
        bookshop.pay("book")
        assert signals.sent("order_paid") == [{"item": "book"}]

    def test_what_one_test_sent_is_not_in_the_next(signals):
        assert signals.sent("order_paid") == []
        assert signals.drain(bookshop.receivers).is_idle

    def test_what_a_thread_sends_is_seen(signals):
        thread = threading.Thread(target=bookshop.pay, args=("book",))
        thread.start()
        thread.join()
        assert signals.drain(bookshop.receivers, raise_errors=True).delivered == 1
        assert bookshop.stock == {"book": 0}

    def test_what_is_sold_out_is_tried_again(signals):
        bookshop.pay("book")
        assert signals.drain(bookshop.receivers).retried == 1
        assert signals.drain(bookshop.receivers).is_idle
        signals.advance(seconds=60)
        bookshop.stock["book"] = 1
        assert signals.drain(bookshop.receivers).delivered == 1
        assert signals.waiting("order_paid") == 0

    def test_errors_can_be_raised(signals):
        bookshop.pay("no such book")
        with pytest.raises(KeyError):
            signals.drain(bookshop.receivers, raise_errors=True)
"""
WITHOUT_GOOGLE = """
    import sys

    class NoGoogle:
        def find_spec(self, name, path=None, target=None):
            if name.split(".")[0] == "google":
                raise ModuleNotFoundError(f"{name} is not there", name=name)

    sys.meta_path.insert(0, NoGoogle())
"""


@pytest.fixture
def team(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A team's project; this tree comes first on the path of what is run in it."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    return pytester


def run(team: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    """In a process of its own: with the team's imports, and nothing of this test run."""
    return team.runpytest_subprocess(*OPTIONS, *arguments)


def run_here(team: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    """In this process, which is faster."""
    return team.runpytest_inprocess(*OPTIONS, *arguments)


def test_a_team_tests_what_it_sends_and_handles_without_the_sdk(team: pytest.Pytester) -> None:
    team.makeconftest(WITHOUT_GOOGLE)
    team.makepyfile(bookshop=SHOP, test_bookshop=TESTS)
    run(team).assert_outcomes(passed=5)


def test_a_failing_test_shows_what_a_handler_raised(team: pytest.Pytester) -> None:
    team.makepyfile(
        bookshop=SHOP,
        test_bookshop="""
            import bookshop

            def test_all_is_delivered(signals):
                bookshop.pay("no such book")
                assert signals.drain(bookshop.receivers).delivered == 1
        """,
    )
    result = run_here(team)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*a handler failed*", "*KeyError: 'no such book'*"])


def test_the_mailbox_of_a_test_that_failed_is_left_behind(team: pytest.Pytester) -> None:
    team.makepyfile(
        """
        from gaesignals import Signal
        from gaesignals.mailbox import current_mailbox
        used = []

        def test_fails(signals):
            used.append(current_mailbox())
            Signal("a").send()
            raise ZeroDivisionError

        def test_has_its_own(signals):
            assert current_mailbox() is not used[0]
            assert signals.all_sent() == []
        """
    )
    run_here(team).assert_outcomes(passed=1, failed=1)


def test_a_fixture_of_the_teams_own_with_that_name_comes_first(team: pytest.Pytester) -> None:
    team.makeconftest("import pytest\n@pytest.fixture\ndef signals():\n    return 'ours'\n")
    team.makepyfile("def test_it(signals):\n    assert signals == 'ours'\n")
    run_here(team).assert_outcomes(passed=1)


def test_the_fixture_is_listed_with_what_it_gives(team: pytest.Pytester) -> None:
    run_here(team, "--fixtures", "-q").stdout.fnmatch_lines(["*signals*", "*Signals of this test alone*"])


def test_nothing_of_it_is_loaded_and_nothing_replaced_where_nobody_asks_for_it(team: pytest.Pytester) -> None:
    team.makeconftest(WITHOUT_GOOGLE)
    team.makepyfile(
        """
        import sys
        from gaesignals.mailbox import current

        def test_it(recwarn):
            assert current._default is None
            assert not {"gaesignals.testing"} & set(sys.modules)
            assert len(recwarn) == 0
        """
    )
    run(team).assert_outcomes(passed=1, warnings=0)


def test_an_installed_plugin_is_found_by_itself_and_can_be_named_besides(
    team: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A distribution beside this tree stands for the installed one: it has its entry points."""
    installed = team.mkdir("installed") / "gaesignals_here-1.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: gaesignals-here\nVersion: 1\n")
    name, module = entry_point()
    (installed / "entry_points.txt").write_text(f"[pytest11]\n{name} = {module}\n")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), str(installed.parent)]))
    team.makepyfile(bookshop=SHOP, test_bookshop=TESTS)
    team.runpytest_subprocess("-W", "error").assert_outcomes(passed=5)
    run(team).assert_outcomes(passed=5)
    team.runpytest_subprocess("-p", f"no:{name}").assert_outcomes(errors=5)


def entry_point() -> tuple[str, str]:
    """Name and module of the plugin as pyproject.toml declares it."""
    text = (ROOT / "pyproject.toml").read_text()
    found = re.search(r'^\[project\.entry-points\.pytest11\]\n"?([\w.]+)"? = "([\w.:]+)"\n', text, re.MULTILINE)
    assert found, "pyproject.toml declares no pytest plugin"
    return found[1], found[2]


def test_pyproject_names_the_plugin_as_its_module() -> None:
    # Under any other name, pytest would load it twice for who names it with -p.
    assert entry_point() == (PLUGIN, PLUGIN)


def test_the_library_imports_nothing_of_google() -> None:
    script = "\n".join(
        [
            "import sys; before = set(sys.modules)",
            *[line[4:] for line in WITHOUT_GOOGLE.splitlines()],
            "import gaesignals, gaesignals.testing, gaesignals.pytest_plugin",
            "with gaesignals.testing.SignalsFixture() as signals:",
            "    gaesignals.Signal('a').send(1)",
            "    assert signals.drain([('a', print)]).delivered == 1",
            "print(sorted(name for name in set(sys.modules) - before if name.split('.')[0] == 'google'))",
        ]
    )
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-W", "error", "-c", script]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (0, "1\n[]\n"), done.stderr
