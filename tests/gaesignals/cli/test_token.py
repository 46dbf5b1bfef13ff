"""Identity tokens: where they come from, and where they never go."""

from __future__ import annotations

from pathlib import Path

import pytest

from gaesignals.cli.address import Address
from gaesignals.cli.errors import UnreachableError, UsageError
from gaesignals.cli.token import find_token

DEPLOYED = Address.parse("https://worker-dot-shop.uc.r.appspot.com")
LOCAL = Address.parse("http://localhost:8081")
PLAIN = Address.parse("http://worker-dot-shop.uc.r.appspot.com")
IN_ENVIRONMENT = {"GAESIGNALS_TOKEN": "from.the.environment"}


def find(
    address: Address = DEPLOYED, *, token: str | None = None, audience: str | None = None, **environ: str
) -> str | None:
    return find_token(address, token=token, audience=audience, environ=environ)


@pytest.fixture
def gcloud(tmp_path: Path) -> Path:
    """A gcloud that prints its arguments in the shape of a token."""
    program = tmp_path / "gcloud"
    program.write_text('#!/bin/sh\necho "$1/$2/$(echo "$3" | tr -dc "a-z=-")"\n')
    program.chmod(0o755)
    return program


def path_of(program: Path) -> str:
    return f"{program.parent}:/usr/bin:/bin"


def test_there_may_be_none() -> None:
    assert find() is None
    assert find(GAESIGNALS_TOKEN="") is None


def test_the_option_comes_before_the_environment() -> None:
    assert find(token="given", **IN_ENVIRONMENT) == "given"
    assert find(**IN_ENVIRONMENT) == "from.the.environment"


def test_gcloud_prints_one_for_the_audience(gcloud: Path) -> None:
    assert find(audience="shop", PATH=path_of(gcloud)) == "auth/print-identity-token/--audiences=shop"


def test_an_audience_comes_before_the_environment(gcloud: Path) -> None:
    assert find(audience="shop", PATH=path_of(gcloud), **IN_ENVIRONMENT) != "from.the.environment"


def test_says_what_gcloud_says_in_one_line(gcloud: Path) -> None:
    gcloud.write_text("#!/bin/sh\necho 'ERROR: (gcloud.auth)\n  no account' >&2\nexit 1\n")
    with pytest.raises(UnreachableError, match=r"^gcloud gave no token: ERROR: \(gcloud.auth\) no account$"):
        find(audience="shop", PATH=path_of(gcloud))


def test_an_audience_needs_gcloud(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not installed; give --token"):
        find(audience="shop", PATH=str(tmp_path))


@pytest.mark.parametrize("options", [{"token": "secret"}, {"audience": "shop"}, {"GAESIGNALS_TOKEN": "secret"}])
def test_never_goes_where_it_can_be_read_on_the_way(options: dict[str, str]) -> None:
    with pytest.raises(UsageError, match="use https://") as raised:
        find(PLAIN, **options)  # type: ignore[arg-type]
    assert "secret" not in str(raised.value)


def test_goes_to_this_machine_unencrypted() -> None:
    assert find(LOCAL, token="given") == "given"


@pytest.mark.parametrize("text", ["", "two words", "a\r\nX-Evil: 1", "\x1b[31m", "ümlaut"])
def test_what_a_header_cannot_carry_is_none(text: str) -> None:
    with pytest.raises(UsageError, match="is no token: it has to be one word"):
        find(token=text)


def test_a_line_break_at_its_end_does_no_harm() -> None:
    assert find(token="given\n") == "given"
