"""Tokens: which ones vouch for an address, and that nothing else does."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from worker.access.tokens import GOOGLE, IAP, Issuer, TokenError, Tokens

from ..signing import (
    AUDIENCES,
    IAP_AUDIENCE,
    OIDC_AUDIENCE,
    KeyServer,
    assembled,
    claims_of,
    key_pair,
    signed_with_the_public_key,
    token,
    unsigned,
)

BOTH = pytest.mark.parametrize("issuer", [IAP, GOOGLE], ids=lambda issuer: issuer.kind)
OTHER = {IAP: GOOGLE, GOOGLE: IAP}
DAY = 86_400


def reader(issuer: Issuer, server: KeyServer | None = None, *, audience: str | None = None) -> Tokens:
    audience = AUDIENCES[issuer] if audience is None else audience
    return Tokens(issuer, audience=audience, fetch=server or KeyServer())


def cause(issuer: Issuer, text: str, server: KeyServer | None = None, *, audience: str | None = None) -> str:
    """Why a token is turned away."""
    with pytest.raises(TokenError) as caught:
        reader(issuer, server, audience=audience).email(text)
    return str(caught.value)


@BOTH
class TestAGoodToken:
    def test_vouches_for_its_address(self, issuer: Issuer) -> None:
        assert reader(issuer).email(token(issuer, email="grace@example.com")) == "grace@example.com"

    def test_may_come_from_each_name_of_its_issuer(self, issuer: Issuer) -> None:
        for name in issuer.names:
            assert reader(issuer).email(token(issuer, iss=name)) == "ada@example.com"

    def test_may_come_from_a_clock_that_is_a_little_ahead(self, issuer: Issuer) -> None:
        assert reader(issuer).email(token(issuer, iat=int(time.time()) + 25))

    def test_may_have_ended_just_now(self, issuer: Issuer) -> None:
        assert reader(issuer).email(token(issuer, exp=int(time.time()) - 1))

    def test_is_checked_with_keys_that_were_fetched_once(self, issuer: Issuer) -> None:
        server = KeyServer()
        tokens = reader(issuer, server)
        for _ in range(5):
            tokens.email(token(issuer))
        assert server.fetched == [issuer.keys_url]

    def test_may_be_signed_with_a_key_that_is_newer_than_those_known(self, issuer: Issuer) -> None:
        server = KeyServer()
        newer = key_pair(issuer.algorithm, "key-2")
        server.keys[issuer.keys_url][newer.id] = newer.public_pem
        assert reader(issuer, server).email(token(issuer, key=newer))


CLAIMS: list[tuple[str, dict[str, Any]]] = [
    ("wrong audience https://elsewhere", {"aud": "https://elsewhere.example"}),
    ("wrong audience [", {"aud": [IAP_AUDIENCE, OIDC_AUDIENCE]}),
    ("wrong audience None", {"aud": None}),
    ("wrong audience", {"aud": f"{IAP_AUDIENCE}/"}),
    ("wrong audience", {"aud": {"a": 1}}),
    ("its issuer is 'https://evil.example'", {"iss": "https://evil.example"}),
    ("its issuer is 'https://accounts.google.com.evil.example'", {"iss": "https://accounts.google.com.evil.example"}),
    ("its issuer is 'https://cloud.google.com/iap/'", {"iss": "https://cloud.google.com/iap/"}),
    ("its issuer is a list", {"iss": ["https://cloud.google.com/iap", "accounts.google.com"]}),
    ("its issuer is none", {"iss": None}),
    ("Token expired", {"exp": 1_700_000_000}),
    ("Token expired", {"exp": int(time.time()) - 40}),
    ("Token used too early", {"iat": int(time.time()) + DAY, "exp": int(time.time()) + 2 * DAY}),
    ("required claim exp", {"exp": None}),
    ("required claim iat", {"iat": None}),
    ("'", {"exp": "tomorrow"}),
    ("'", {"iat": [], "exp": {}}),
    ("no e-mail address", {"email": None}),
    ("no e-mail address", {"email": ""}),
    ("no e-mail address", {"email": ["ada@example.com"]}),
]


@BOTH
class TestABadToken:
    @pytest.mark.parametrize(("why", "claims"), CLAIMS)
    def test_has_a_claim_that_is_wrong(self, issuer: Issuer, why: str, claims: dict[str, Any]) -> None:
        assert why in cause(issuer, token(issuer, **claims))

    def test_is_signed_by_the_issuer_of_the_other_kind(self, issuer: Issuer) -> None:
        other = OTHER[issuer]
        assert "its algorithm is" in cause(issuer, token(other, aud=AUDIENCES[issuer]))
        assert "its algorithm is" in cause(issuer, token(issuer, key=key_pair(other.algorithm)))

    def test_says_our_algorithm_and_is_signed_with_another(self, issuer: Issuer) -> None:
        forged = token(issuer, key=key_pair(OTHER[issuer].algorithm), header={"alg": issuer.algorithm})
        assert "signature" in cause(issuer, forged)

    def test_names_a_key_of_another_algorithm(self, issuer: Issuer) -> None:
        server = KeyServer()
        other = key_pair(OTHER[issuer].algorithm)
        server.keys[issuer.keys_url]["key-1"] = other.public_pem
        assert "a bad" in cause(issuer, token(issuer), server)
        assert "a bad" in cause(issuer, token(issuer, key=other), server)

    @pytest.mark.parametrize("forge", [unsigned, signed_with_the_public_key], ids=["none", "HS256 with the public key"])
    def test_chooses_its_algorithm(self, issuer: Issuer, forge: Callable[[Issuer], str]) -> None:
        assert "its algorithm is" in cause(issuer, forge(issuer))

    @pytest.mark.parametrize("algorithm", [None, "", "ES384", "RS512", ["RS256"], "es256", "rs256", {}])
    def test_has_an_algorithm_of_another_kind(self, issuer: Issuer, algorithm: object) -> None:
        assert "its algorithm is" in cause(issuer, token(issuer, header={"alg": algorithm}))

    def test_is_signed_by_somebody_else(self, issuer: Issuer) -> None:
        mallorys = key_pair(issuer.algorithm, "mallory's")
        assert "signature" in cause(issuer, token(issuer, key=mallorys, header={"kid": "key-1"}))

    def test_brings_its_own_key(self, issuer: Issuer) -> None:
        mallorys = key_pair(issuer.algorithm, "mallory's")
        header = {"kid": "key-1", "jku": "https://evil.example", "x5c": [mallorys.public_pem]}
        assert "signature" in cause(issuer, token(issuer, key=mallorys, header=header))

    def test_was_changed_after_it_was_signed(self, issuer: Issuer) -> None:
        mine, hers = token(issuer, email="mallory@example.com").split("."), token(issuer).split(".")
        assert "signature" in cause(issuer, ".".join([mine[0], hers[1], mine[2]]))
        assert "signature" in cause(issuer, ".".join([*hers[:2], ""]))

    @pytest.mark.parametrize("key_id", [None, "", 1, ["key-1"], {}])
    def test_names_no_key(self, issuer: Issuer, key_id: object) -> None:
        assert "key id" in cause(issuer, token(issuer, header={"kid": key_id}))

    def test_names_a_key_nobody_knows(self, issuer: Issuer) -> None:
        assert f"its key id is none of {issuer.keys_url}" in cause(issuer, token(issuer, header={"kid": "no-such"}))

    def test_cannot_be_checked_while_the_keys_cannot_be_had(self, issuer: Issuer) -> None:
        server = KeyServer()
        server.is_down = True
        assert "could not be fetched: no answer: ConnectTimeout" in cause(issuer, token(issuer), server)

    def test_comes_where_no_audience_is_set(self, issuer: Issuer) -> None:
        server = KeyServer()
        for claims in ({}, {"aud": ""}, {"aud": None}):
            assert f"only where {issuer.setting} is set" in cause(issuer, token(issuer, **claims), server, audience="")
        assert server.fetched == []

    @pytest.mark.parametrize(
        "text",
        [
            *["", ".", "..", "...", "a.b.c", "e30.e30", "e30.e30.e30.e30", "bnVsbA.bnVsbA.bnVsbA", "W10.W10.W10"],
            *["e30.e30.x", "\ud800.a.b", "\x00.\x00.\x00", "é.è.ê", "Bearer a.b.c", " ", "A" * 100_000, "." * 100_000],
            # A JSON document of ten thousand brackets.
            "W1tb" * 2_500 + ".e30.e30",
        ],
        ids=lambda text: ascii(text[:20]),
    )
    def test_is_not_one_at_all(self, issuer: Issuer, text: str) -> None:
        assert "cannot be read as one" in cause(issuer, text) or "its algorithm is" in cause(issuer, text)

    @pytest.mark.parametrize("claims", [None, [], "text", 1, [["iss", "accounts.google.com"]]])
    def test_claims_nothing(self, issuer: Issuer, claims: object) -> None:
        pair = key_pair(issuer.algorithm)
        text = assembled({"alg": issuer.algorithm, "kid": pair.id}, claims, pair.sign)
        assert "cannot be read as one" in cause(issuer, text)


class TestAnAddress:
    @pytest.mark.parametrize("flag", [False, None, "true", 1, [True]])
    def test_that_is_not_verified_is_nobodys(self, flag: object) -> None:
        assert "not verified" in cause(GOOGLE, token(GOOGLE, email_verified=flag))

    def test_that_iap_vouches_for_needs_no_flag(self) -> None:
        assert "email_verified" not in claims_of(IAP)
        assert reader(IAP).email(token(IAP)) == "ada@example.com"


class TestWhatIsLogged:
    @BOTH
    def test_says_who_the_token_says_it_is_and_whom_it_is_for(self, issuer: Issuer) -> None:
        said = cause(issuer, token(issuer, aud="https://elsewhere.example", email="mallory@example.com"))
        assert "the e-mail address 'mallory@example.com' and the audience 'https://elsewhere.example'" in said

    @BOTH
    def test_is_escaped_and_short(self, issuer: Issuer) -> None:
        hostile = "\x1b[31m\n" + "x" * 5000
        for claims in ({"email": hostile, "aud": hostile}, {"iss": hostile, "email": hostile}, {"aud": [hostile]}):
            said = cause(issuer, token(issuer, **claims))
            assert said.isprintable()
            assert len(said) < 1000

    @BOTH
    @pytest.mark.parametrize("claims", [{"aud": "x"}, {"iss": "x"}, {"exp": 1}, {"exp": "x"}, {"email": None}])
    def test_has_no_part_of_the_token(self, issuer: Issuer, claims: dict[str, Any]) -> None:
        for text in (token(issuer, **claims), token(issuer)[:-3], token(issuer) + ".x", "x" + token(issuer)):
            said = cause(issuer, text)
            assert not [part for part in text.split(".") if len(part) > 8 and part in said]
