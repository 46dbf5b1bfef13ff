"""The public keys that tokens are checked with: fetched from their issuer, and kept as long as it says, within bounds.

An unknown key id may be a new key, so it is worth a look at the issuer; a forged token has one as well, so there are
never two looks within `REFETCH_SECONDS`, whoever asks and whatever became of the first.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from google.auth.exceptions import TransportError
from google.auth.transport.requests import Request
from werkzeug.datastructures import ResponseCacheControl
from werkzeug.http import parse_cache_control_header

logger = logging.getLogger("gaesignals.worker")

REFETCH_SECONDS = 30.0
USUAL_SECONDS = 3_600.0
MAX_SECONDS = 86_400.0
_TIMEOUT_SECONDS = 5.0


class KeysError(Exception):
    """There is no key to check a token with. The text is for the log."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """Keys in PEM by their ids, and for how long their issuer vouches for them: None if it does not say."""

    keys: Mapping[str, str]
    max_age_seconds: float | None = None


Fetch: TypeAlias = Callable[[str], Fetched]
"""Gets the keys at a URL. Raises `KeysError`."""


class PublicKeys:
    """The keys at one URL. Safe in threads: one fetches, the others that need a key wait for it."""

    def __init__(self, url: str, *, fetch: Fetch, clock: Callable[[], float] = time.monotonic) -> None:
        self._url = url
        self._fetch = fetch
        self._clock = clock
        self._lock = threading.Lock()
        self._keys: Mapping[str, str] = {}
        self._trouble = ""
        self._expires_at = self._fetch_from = clock()

    def find(self, key_id: str) -> str:
        """Return the key in PEM. Raises `KeysError` if the issuer has no such key, or cannot be asked now."""
        key = self._known(key_id)
        if key is not None:
            return key
        with self._lock:
            if self._known(key_id) is None and self._clock() >= self._fetch_from:
                self._refresh()
            key = self._known(key_id)
        if key is None:
            # A caller chose the id, so it is not repeated here.
            trouble = f"; they could not be fetched: {self._trouble}" if self._trouble else ""
            raise KeysError(f"its key id is none of {self._url}{trouble}")
        return key

    def _known(self, key_id: str) -> str | None:
        return self._keys.get(key_id) if self._clock() < self._expires_at else None

    def _refresh(self) -> None:
        self._fetch_from = self._clock() + REFETCH_SECONDS
        try:
            fetched = self._fetch(self._url)
        except KeysError as error:
            # Keys that have not expired stay good for the tokens that name them.
            self._trouble = str(error)
            logger.error("keys for tokens could not be fetched", extra={"url": self._url, "detail": self._trouble})
            return
        lifetime = USUAL_SECONDS if fetched.max_age_seconds is None else fetched.max_age_seconds
        self._keys, self._trouble = fetched.keys, ""
        self._expires_at = self._clock() + min(max(lifetime, REFETCH_SECONDS), MAX_SECONDS)


def fetch_keys(url: str) -> Fetched:
    """Get the keys at `url`, a JSON object of key ids and keys or certificates in PEM. Raises `KeysError`."""
    try:
        answer = Request()(url, timeout=_TIMEOUT_SECONDS)
    except TransportError as error:
        raise KeysError(f"no answer: {type(error.__cause__ or error).__name__}") from error
    if answer.status != 200:
        raise KeysError(f"the answer is {answer.status}")
    try:
        keys = json.loads(answer.data)
    except (ValueError, RecursionError) as error:
        raise KeysError("the answer is not JSON") from error
    if not isinstance(keys, dict) or not all(isinstance(key, str) for key in keys.values()):
        raise KeysError("the answer is not an object of key ids and keys")
    return Fetched(keys, _max_age_seconds(answer.headers))


def _max_age_seconds(headers: Mapping[str, str]) -> float | None:
    """How long the answer may be kept from now on: caches on the way have kept it already."""
    control = parse_cache_control_header(headers.get("Cache-Control"), cls=ResponseCacheControl)
    if control.no_store or control.no_cache:
        return 0.0
    if control.max_age is None:
        return None
    age = headers.get("Age", "0")
    return float(control.max_age - (int(age) if age.isascii() and age.isdigit() else 0))
