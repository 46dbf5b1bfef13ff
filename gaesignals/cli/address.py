"""The address of a worker, and whether what is sent there can be overheard."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from urllib.parse import urlsplit

from .errors import UsageError

LOCAL_WORKER = "http://localhost:8081"


@dataclass(frozen=True, slots=True)
class Address:
    """Where a worker is: `url` has no slash at its end.

    `is_loopback`: on this machine. `is_private`: nobody on the way can read what is sent.
    """

    url: str
    is_loopback: bool
    is_private: bool

    @classmethod
    def parse(cls, text: str) -> Address:
        """Read a URL, that of a worker or of its admin page; UsageError if it cannot be one."""
        try:
            parts = urlsplit(text.strip())
            # As they go over the wire. A path that is not ASCII has to be escaped first.
            host, port = (parts.hostname or "").encode("idna").decode(), parts.port
            parts.path.encode("ascii")
        except ValueError as error:
            raise UsageError(f"{text!r:.120} is no URL: {error}") from error
        if parts.scheme not in ("http", "https") or not host:
            raise UsageError(f"{text!r:.120} is no URL of a worker; it looks like {LOCAL_WORKER}")
        if parts.username is not None or parts.query or parts.fragment or not text.strip().isprintable():
            raise UsageError("--url takes scheme, host and path alone; a token goes to --token")
        path = parts.path.rstrip("/").removesuffix("/admin")
        is_loopback = _is_loopback(host)
        netloc = (f"[{host}]" if ":" in host else host) + (f":{port}" if port is not None else "")
        return cls(f"{parts.scheme}://{netloc}{path}", is_loopback, parts.scheme == "https" or is_loopback)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
