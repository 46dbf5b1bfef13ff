"""The store that `SIGNALS_STORE` names: App Engine's memcache, or a Valkey or Redis server by its URL.

Each is imported where it is asked for, so that whoever has no use for it needs neither the SDK nor the client.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gaesignals.errors import InvalidOptionError

from .store import Store

if TYPE_CHECKING:
    from .valkey import ValkeyStore

STORE_VARIABLE: Final = "SIGNALS_STORE"
MEMCACHE: Final = "memcache"
CALL_SECONDS: Final = 5.0
"""The deadline of a call to the store, unless something else is said."""


def is_memcache(name: str) -> bool:
    """Whether `name`, a value of `SIGNALS_STORE`, is that of App Engine's memcache, as nothing is."""
    return name.strip() in ("", MEMCACHE)


def open_store(name: str, *, namespace: str = "", deadline_seconds: float = CALL_SECONDS) -> Store:
    """Make the store that `name` names, without calling it yet.

    Raises `InvalidOptionError`, which never repeats a URL: there may be a password in it.
    """
    if is_memcache(name):
        from .app_engine import MemcacheStore

        return MemcacheStore(namespace=namespace, deadline_seconds=deadline_seconds)
    return open_server(name, namespace=namespace, deadline_seconds=deadline_seconds)


def open_server(url: str, *, namespace: str = "", deadline_seconds: float = CALL_SECONDS) -> ValkeyStore:
    """Make the store on the server of `url`, which can also be asked about itself. Raises as `open_store` does."""
    if "://" not in url:
        raise InvalidOptionError("a store is memcache, or a URL that begins with valkey:// or redis://")
    try:
        from .valkey import ValkeyStore
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "redis":
            raise
        raise InvalidOptionError("the client is not installed; install gaesignals[valkey]") from None
    return ValkeyStore(url.strip(), namespace=namespace, deadline_seconds=deadline_seconds)
