"""Where a request comes from: this machine, a page of the worker's own, or elsewhere."""

from __future__ import annotations

import ipaddress
from typing import Any
from urllib.parse import urlsplit

from flask import Request

from .log import escaped

# Where `remember_peer` leaves the address of who connected. App Engine's middleware replaces REMOTE_ADDR by a header.
PEER = "gaesignals.peer"
# What the local cloud puts there: other names of this machine, and whether it is meant to be reached from others.
LOCAL_NAMES, LOCAL_CALLERS = "gaesignals.local_names", "gaesignals.local_callers"
_USUAL_PORTS = {"http": 80, "https": 443}


class Refused(Exception):
    """A caller is turned away. The reason is for the log alone."""


def remember_peer(environ: dict[str, Any]) -> None:
    """Note who connected, before any middleware changes it."""
    environ[PEER] = environ.get("REMOTE_ADDR", "")


def check_local(request: Request) -> None:
    """Refuse callers from other machines, and pages of other sites whose name was pointed at this machine."""
    if not (_is_loopback(request.environ.get(PEER, "")) or request.environ.get(LOCAL_CALLERS)):
        raise Refused("the local server answers callers on this machine only")
    check_local_name(request)


def check_local_name(request: Request) -> None:
    """Refuse what was not called by a name of this machine."""
    name = _hostname(f"//{request.host}")
    if not (_is_loopback(name) or name in request.environ.get(LOCAL_NAMES, ())):
        called = f"the local server was called by another name, {escaped(request.host)}"
        raise Refused(f"{called}; use localhost, or start it with --host")


def check_same_site(request: Request) -> None:
    """Refuse what a page of another site made a browser send.

    A browser says where a request comes from. A request that says nothing is a script's, which has no cookies that
    another site could abuse.
    """
    fetch_site = request.headers.get("Sec-Fetch-Site")
    if fetch_site is not None:
        if fetch_site not in ("same-origin", "none"):
            raise Refused(f"a cross-site request: Sec-Fetch-Site is {escaped(fetch_site)}")
        return
    for header in ("Origin", "Referer"):
        source = request.headers.get(header)
        if source is not None:
            host = _host(source)
            if host is None or host != _host(request.host_url):
                raise Refused(f"a cross-site request: {header} is {escaped(source)}")
            return


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback


def _hostname(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _host(url: str) -> tuple[str, int | None] | None:
    """Host and port of `url`, the port None where it is the usual one; None if it has no host."""
    try:
        parts = urlsplit(url)
        port = None if parts.port == _USUAL_PORTS.get(parts.scheme) else parts.port
    except ValueError:
        return None
    return (parts.hostname, port) if parts.hostname else None
