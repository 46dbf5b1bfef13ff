"""Tokens and keys as Google has them, made here: certificates for RS256, public keys for ES256, and forgeries."""

from __future__ import annotations

import base64
import functools
import hashlib
import hmac
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.x509.oid import NameOID

from worker.access.keys import Fetched, KeysError
from worker.access.tokens import GOOGLE, IAP, Issuer

IAP_AUDIENCE = "/projects/123/apps/shop-1"
OIDC_AUDIENCE = "https://worker-dot-shop-1.appspot.com"
AUDIENCES = {IAP: IAP_AUDIENCE, GOOGLE: OIDC_AUDIENCE}


@dataclass(frozen=True)
class KeyPair:
    """A private key, and what its owner publishes of it."""

    algorithm: str
    private: Any
    public_pem: str
    id: str

    def sign(self, message: bytes) -> bytes:
        if self.algorithm == "RS256":
            signature: bytes = self.private.sign(message, padding.PKCS1v15(), hashes.SHA256())
            return signature
        r, s = decode_dss_signature(self.private.sign(message, ec.ECDSA(hashes.SHA256())))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")


@functools.cache
def key_pair(algorithm: str, id: str = "key-1") -> KeyPair:
    if algorithm == "RS256":
        private: Any = rsa.generate_private_key(65537, 2048)
        return KeyPair(algorithm, private, _certificate(private), id)
    private = ec.generate_private_key(ec.SECP256R1())
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return KeyPair(algorithm, private, private.public_key().public_bytes(serialization.Encoding.PEM, form).decode(), id)


def _certificate(private: rsa.RSAPrivateKey) -> str:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "federated-signon.system.gserviceaccount.com")])
    now = datetime.now(timezone.utc)
    builder = x509.CertificateBuilder(name, name, private.public_key(), x509.random_serial_number())
    dated = builder.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
    return dated.sign(private, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


def claims_of(issuer: Issuer, email: str = "ada@example.com", **changes: Any) -> dict[str, Any]:
    """What a good token says, with `changes`; a claim that is None is left out."""
    now = int(time.time())
    claims = {
        "iss": min(issuer.names),
        "aud": AUDIENCES[issuer],
        "iat": now,
        "exp": now + 600,
        "sub": "accounts.google.com:1",
        "email": email,
        "email_verified": True if issuer.has_verified_flag else None,
        **changes,
    }
    return {name: value for name, value in claims.items() if value is not None}


def token(issuer: Issuer, *, key: KeyPair | None = None, header: Mapping[str, Any] | None = None, **claims: Any) -> str:
    """A token as `issuer` makes them, but for the `claims` and fields of the `header` that are given."""
    pair = key or key_pair(issuer.algorithm)
    fields = {"typ": "JWT", "alg": pair.algorithm, "kid": pair.id, **(header or {})}
    return assembled(fields, claims_of(issuer, **claims), pair.sign)


def assembled(header: Mapping[str, Any], claims: Any, sign: Any) -> str:
    parts = [_encoded(json.dumps(part).encode()) for part in (header, claims)]
    return ".".join([*parts, _encoded(sign(".".join(parts).encode()))])


def unsigned(issuer: Issuer) -> str:
    return assembled({"alg": "none", "kid": "key-1"}, claims_of(issuer), lambda message: b"")


def signed_with_the_public_key(issuer: Issuer) -> str:
    """What fools a checker that lets the token choose the algorithm: the public key is no secret."""
    secret = key_pair(issuer.algorithm).public_pem.encode()
    return assembled(
        {"alg": "HS256", "kid": "key-1"},
        claims_of(issuer),
        lambda message: hmac.new(secret, message, hashlib.sha256).digest(),
    )


def _encoded(part: bytes) -> str:
    return base64.urlsafe_b64encode(part).rstrip(b"=").decode()


class KeyServer:
    """Both issuers' keys, without a network. `is_down` makes it fail; `fetched` lists what it was asked for."""

    def __init__(self) -> None:
        self.fetched: list[str] = []
        self.is_down = False
        self.keys = {
            issuer.keys_url: {pair.id: pair.public_pem}
            for issuer in (IAP, GOOGLE)
            for pair in [key_pair(issuer.algorithm)]
        }

    def __call__(self, url: str) -> Fetched:
        self.fetched.append(url)
        if self.is_down:
            raise KeysError("no answer: ConnectTimeout")
        return Fetched(dict(self.keys[url]), 3600.0)
