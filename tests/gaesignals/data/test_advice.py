"""What is refused for its type can be sent as the error advises, inside a test as well."""

from __future__ import annotations

import re
from collections import OrderedDict
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import freezegun
import pytest
from markupsafe import Markup

from gaesignals import InvalidDataError, Signal
from gaesignals.data import codec
from gaesignals.data.advice import conversion_of

BERLIN = ZoneInfo("Europe/Berlin")


class SafeString(str):
    """As Django's: `str()` of one is one."""

    __slots__ = ()

    def __str__(self) -> str:
        return self


class Timestamp(datetime):
    """As pandas'."""

    def to_pydatetime(self) -> datetime:
        return datetime.fromisoformat(self.isoformat())


class NaTType(datetime):
    """As pandas' NaT, which is a datetime that is none."""


def made_of(kind: type[Any], *arguments: Any) -> Any:
    return type(f"My{kind.__name__}", (kind,), {})(*arguments)


def refusal(value: Any) -> str:
    with pytest.raises(InvalidDataError) as caught:
        codec.dumps([value])
    return str(caught.value)


def followed(advice: str, value: Any) -> Any:
    """What the advice makes of a value."""
    found = re.search(r": send (.*?)(, or .*)?$", advice)
    assert found, advice
    return eval(found[1], {**globals(), "value": value})


VALUES = [
    SafeString("a"),
    Markup("<b>"),
    Timestamp(2026, 3, 1, 12, tzinfo=timezone.utc),
    made_of(int, 5),
    made_of(float, 0.5),
    made_of(bytes, b"a"),
    made_of(list, [1]),
    made_of(tuple, (1,)),
    made_of(set, {1}),
    made_of(frozenset, {1}),
    OrderedDict(a=1),
    made_of(datetime, 2026, 3, 1, 12),
    made_of(date, 2026, 3, 1),
    made_of(time, 12),
    made_of(timedelta, 1, 2, 3),
    made_of(Decimal, "1.50"),
    made_of(Fraction, 1, 3),
    made_of(UUID, "00000000-0000-0000-0000-000000000005"),
]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_what_the_advice_makes_can_be_sent_and_comes_back(value: Any) -> None:
    plain = followed(refusal(value), value)
    back = codec.loads(codec.dumps(plain))
    assert back == plain == value
    assert type(back) in type(value).__mro__[1:]


@pytest.mark.usefixtures("mailbox")
@pytest.mark.parametrize(("name", "kind"), [("datetime", datetime), ("date", date)])
def test_a_moment_of_frozen_time_is_refused_with_advice_that_works_while_it_is_frozen(
    name: str, kind: type[Any]
) -> None:
    with freezegun.freeze_time("2026-03-01 12:00"):
        now = datetime.now() if name == "datetime" else date.today()
        advice = refusal(now)
        assert "freeze time with time-machine" in advice
        Signal("a").send(followed(advice, now))
        with pytest.raises(InvalidDataError, match=r"is declared: send freezegun\.api\.real_"):
            Signal("a", data_type=kind).send(now)
    assert type(followed(advice, now)) is kind


def test_of_no_moment_none_can_be_sent() -> None:
    assert conversion_of(NaTType) == "None"


# Keys that are one moment


@pytest.mark.parametrize("wrap", [lambda key: key, lambda key: (1, key), lambda key: frozenset({key})])
def test_keys_that_would_be_one_moment_when_they_come_back_are_refused_at_send(wrap: Any) -> None:
    """The hour after two o'clock came twice that night, and Python keeps what is one moment apart."""
    repeated = datetime(2026, 10, 25, 2, 30, tzinfo=BERLIN, fold=1)
    same = repeated.replace(tzinfo=timezone(timedelta(hours=1)))
    for value in ({wrap(repeated): 1, wrap(same): 2}, {wrap(repeated), wrap(same)}):
        assert len(value) == 2
        with pytest.raises(InvalidDataError, match="has two keys that are one moment"):
            codec.dumps({"log": value})


def test_one_such_key_and_moments_beside_it_come_back() -> None:
    moments = {datetime(2026, 10, 25, hour, 30, tzinfo=BERLIN, fold=1): hour for hour in range(1, 5)}
    back = codec.loads(codec.dumps(moments))
    assert {moment.astimezone(timezone.utc): hour for moment, hour in moments.items()} == back
