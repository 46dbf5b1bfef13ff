"""Which receivers a name has, among many patterns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gaesignals import Receivers, matching
from gaesignals.matching import Matching
from gaesignals.receiver import Receiver
from gaesignals.template import Template


def handle(data: Any, **fields: str) -> None: ...


def of(*patterns: str) -> Matching:
    found = Matching()
    for pattern in patterns:
        found.add(Receiver(pattern, handle, Template.parse(pattern)))
    return found


def matched(found: Matching, name: str) -> list[tuple[str, Mapping[str, str]]]:
    return [(match.receiver.id, match.captures) for match in found.of(name)]


TEXTS = st.text("ab_", max_size=4)
PATTERNS = st.builds(lambda a, b, c: f"{a}{{x}}{b}{{y}}{c}", TEXTS, st.text("ab_", min_size=1, max_size=2), TEXTS)


@given(st.lists(st.one_of(PATTERNS, st.text("ab_", min_size=1, max_size=5)), max_size=30), st.text("ab_", min_size=1))
def test_a_name_has_the_receivers_whose_templates_match_it_in_their_order(patterns: list[str], name: str) -> None:
    expected = [(pattern, Template.parse(pattern).match(name)) for pattern in patterns]
    assert matched(of(*patterns), name) == [
        (pattern, captures) for pattern, captures in expected if captures is not None
    ]


@pytest.mark.parametrize("pattern", ["kind{number}_{{id}}_changed", "user_{{id}}_kind{number}", "{{id}}.{number}"])
def test_of_a_thousand_patterns_only_those_are_tried_that_begin_and_end_as_the_name_does(
    monkeypatch: pytest.MonkeyPatch, pattern: str
) -> None:
    found = of(*(pattern.format(number=number) for number in range(1000)))
    tried: list[Template] = []
    match = Template.match

    def count(template: Template, name: str) -> dict[str, str] | None:
        tried.append(template)
        return match(template, name)

    monkeypatch.setattr(Template, "match", count)
    name = pattern.format(number=617).replace("{id}", "54274")
    assert matched(found, name) == [(pattern.format(number=617), {"id": "54274"})]
    assert len(tried) == 1


def test_the_memory_of_matches_is_bounded_and_does_not_forget_all_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matching, "CACHED_NAMES", 10)
    receivers = Receivers()
    receivers.connect("user_{user_id}", handle)
    kept = receivers.matching("user_often")
    for number in range(100):
        receivers.matching(f"user_{number}")
        assert receivers.matching("user_often") is kept
    assert receivers._matching.of.cache_info().currsize == 10
