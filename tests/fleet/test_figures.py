"""Twenty workers share a backlog, let quick names pass, and repeat little after a kill."""

from __future__ import annotations

import pytest

from .figures import FIGURES, Figure


@pytest.mark.parametrize(
    "figure",
    [pytest.param(each, id=each.what, marks=[pytest.mark.stress] if each.is_long else []) for each in FIGURES],
)
def test_a_fleet_shows(figure: Figure) -> None:
    value = figure.measure()
    assert figure.is_met_by(value), f"{value:g} is not {figure.limit}"
