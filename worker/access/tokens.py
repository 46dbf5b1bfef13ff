"""Tokens that Google signed: whose e-mail address does one vouch for?

Everything is checked: the signature with the one algorithm and the keys of its issuer, the issuer, the audience, which
has to be set, and the times. What a token says of itself decides nothing before that. An address is a name and not a
right: who may do what is decided by `doors`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from google.auth import jwt
from google.auth.exceptions import GoogleAuthError

from ..log import escaped
from .keys import Fetch, KeysError, PublicKeys

# For clocks that differ. Google's own tokens live ten minutes (IAP) or an hour.
SKEW_SECONDS = 30
# What unreadable tokens and claims of odd types make google-auth raise; ValueError includes all about bytes and JSON.
_UNREADABLE = (GoogleAuthError, ValueError, TypeError, RecursionError, OverflowError)


class TokenError(Exception):
    """A token that does not count. The text is for the log: it repeats claims, escaped, and never the token."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Issuer:
    """Who signs a kind of token, and how. `setting` names the environment variable that has the audience."""

    kind: str
    names: frozenset[str]
    algorithm: str
    keys_url: str
    setting: str
    has_verified_flag: bool


IAP = Issuer(
    kind="IAP token",
    names=frozenset({"https://cloud.google.com/iap"}),
    algorithm="ES256",
    keys_url="https://www.gstatic.com/iap/verify/public_key",
    setting="SIGNALS_IAP_AUDIENCE",
    # IAP lets nobody in whose address is not verified, and says nothing of it.
    has_verified_flag=False,
)
GOOGLE = Issuer(
    kind="bearer token",
    names=frozenset({"accounts.google.com", "https://accounts.google.com"}),
    algorithm="RS256",
    keys_url="https://www.googleapis.com/oauth2/v1/certs",
    setting="SIGNALS_OIDC_AUDIENCE",
    has_verified_flag=True,
)


class Tokens:
    """Reads the tokens of one issuer for one audience."""

    def __init__(self, issuer: Issuer, *, audience: str, fetch: Fetch) -> None:
        self._issuer = issuer
        self._audience = audience
        self._keys = PublicKeys(issuer.keys_url, fetch=fetch)

    @property
    def is_expected(self) -> bool:
        """Whether such tokens count at all: their audience is set."""
        return bool(self._audience)

    def email(self, token: str) -> str:
        """Return the e-mail address that `token` vouches for. Raises `TokenError` unless all about it is good."""
        if not self._audience:
            raise TokenError(f"a {self._issuer.kind} counts only where {self._issuer.setting} is set")
        header, claims = self._parse(token)
        try:
            self._verify(token, header)
            self._check_claims(claims)
        except TokenError as error:
            said = f"it claims the e-mail address {_said(claims, 'email')} and the audience {_said(claims, 'aud')}"
            raise TokenError(f"a bad {self._issuer.kind}: {error}; {said}") from error
        return str(claims["email"])

    def _parse(self, token: str) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
        try:
            return jwt.decode_header(token), jwt.decode(token, verify=False)
        except _UNREADABLE:
            # google-auth's own text, and its traceback, have parts of the token.
            raise TokenError(f"a bad {self._issuer.kind}: it cannot be read as one") from None

    def _verify(self, token: str, header: Mapping[str, Any]) -> None:
        """Check signature, times and audience. google-auth would take any algorithm it knows, and try all keys."""
        algorithm, key_id = header.get("alg"), header.get("kid")
        if algorithm != self._issuer.algorithm:
            raise TokenError(f"its algorithm is {_shown(algorithm)}, not {self._issuer.algorithm}")
        if not isinstance(key_id, str):
            raise TokenError("it has no key id")
        try:
            key = {key_id: self._keys.find(key_id)}
            jwt.decode(token, certs=key, audience=self._audience, clock_skew_in_seconds=SKEW_SECONDS)
        except KeysError as error:
            raise TokenError(str(error)) from error
        except _UNREADABLE as error:
            raise TokenError(_shown(str(error))) from error

    def _check_claims(self, claims: Mapping[str, Any]) -> None:
        if not any(claims.get("iss") == name for name in self._issuer.names):
            raise TokenError(f"its issuer is {_said(claims, 'iss')}")
        if not isinstance(claims.get("email"), str) or not claims["email"]:
            raise TokenError("it has no e-mail address; ask for one with --include-email or format=full")
        if self._issuer.has_verified_flag and claims.get("email_verified") is not True:
            raise TokenError("its e-mail address is not verified")


def _said(claims: Mapping[str, Any], name: str) -> str:
    return _shown(claims[name]) if name in claims else "none"


def _shown(value: object) -> str:
    return escaped(value) if isinstance(value, str) else f"a {type(value).__name__}"
