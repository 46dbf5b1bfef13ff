"""The list of faults fits the code as it is, so that `make mutants` tries what it says."""

from __future__ import annotations

from pathlib import Path

import pytest

from . import mutants
from .mutants import FAULTS, FIRST, GROUPS, Fault, NotApplicableError, Verdict, judge, main


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.breaks)
def test_a_fault_fits_its_file_exactly_once_and_leaves_it_python(fault: Fault) -> None:
    compile(fault.mutated(), fault.path, "exec", dont_inherit=True)


def test_no_two_faults_say_the_same() -> None:
    assert len({fault.breaks for fault in FAULTS}) == len(FAULTS)


def test_the_tests_that_are_run_exist() -> None:
    here = Path(__file__).parent
    assert [path for group in GROUPS for path in group.split() if not (here / path).exists()] == []


@pytest.mark.parametrize("path", FIRST)
def test_a_group_that_is_to_be_first_is_one_of_them(path: str) -> None:
    assert len([group for group in GROUPS if FIRST[path] in group.split()]) == 1
    assert path in {fault.path for fault in FAULTS}


@pytest.mark.parametrize("text", ["", "here and here"])
def test_a_fault_that_does_not_fit_is_an_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "module.py").write_text(text)
    with pytest.raises(NotApplicableError, match="not once"):
        Fault("nothing", "module.py", "here", "there").mutated(tmp_path)


def test_a_fault_in_the_code_is_caught_by_the_test_it_breaks() -> None:
    verdict = judge(
        Fault("the module itself", "gaesignals/format/page.py", "FULL_MESSAGES: Final = 16\n", "raise RuntimeError\n")
    )
    assert verdict.caught_by is not None


def test_without_numbers_all_faults_are_tried(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(mutants, "judge", lambda fault: Verdict(None if fault is None else "a test", 0.0))
    assert main([]) == 0
    assert f"{len(FAULTS) + 1} tried, 0 not as they should be" in capsys.readouterr().out


def test_nothing_is_said_of_faults_where_the_tests_fail_without_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(mutants, "judge", lambda fault: Verdict("a test", 0.0))
    assert main([]) == 1
    assert len(capsys.readouterr().out.splitlines()) == 2


@pytest.mark.parametrize("number", ["-1", str(len(FAULTS) + 1), "all"])
def test_a_number_that_no_fault_has_is_refused(number: str) -> None:
    with pytest.raises(SystemExit):
        main([number])
