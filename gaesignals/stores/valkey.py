"""The store on a Valkey or Redis server: one alone, one with replicas, or a Cluster.

A value is kept behind eight random bytes, new with each write. They are the id of a compare-and-set: a number that the
server counts could come a second time where a failover or a restart takes it back in time.

It keeps nothing between calls but connections, so it may be used from any number of threads.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import chain
from typing import Any, Final, TypeAlias
from urllib.parse import parse_qsl, urlencode, urlsplit

from redis.connection import parse_url
from redis.exceptions import NoScriptError, RedisError

from gaesignals.errors import InvalidOptionError, brief

from .lines import packed
from .store import Absent, Add, CallLimits, Cas, Check, Found, Outcome, Read, Set, Write, check_writes, checked_keys
from .wire import ServerInfo, Wire

logger = logging.getLogger("gaesignals")

_NAMESPACE: Final = re.compile(r"[0-9A-Za-z._-]{0,100}")
_SCHEMES: Final = {"valkey": "redis", "valkeys": "rediss", "redis": "redis", "rediss": "rediss"}
_REPLICAS: Final = "replicas"
_DEADLINES: Final = frozenset({"socket_timeout", "socket_connect_timeout"})
_SHAPE: Final = (
    "write user:password@host:port/database?option=value, with '/', '?' and '@' in a password as %2F, %3F and %40"
)
_ID_BYTES: Final = 8
_WHATEVER: Final = b"whatever it is"
# Of each key: the id that it has to have, none if it must not be there; what to store, nothing if that was all; for how
# many seconds.
_SCRIPT: Final = f"""
local answers = {{}}
for place, key in ipairs(KEYS) do
    local expected, value, seconds = ARGV[3 * place - 2], ARGV[3 * place - 1], ARGV[3 * place]
    local found = redis.pcall('GETRANGE', key, 0, {_ID_BYTES - 1})
    if type(found) == 'table' then
        -- A list or a hash is nothing of ours, and reads as missing.
        if not string.find(found.err, 'WRONGTYPE', 1, true) then return found end
        found = ''
    end
    if expected ~= found and expected ~= '{_WHATEVER.decode()}' then
        answers[place] = found == '' and 'missing' or 'conflict'
    else
        if value == '' then -- it is as it was
        elseif seconds == '0' then redis.call('SET', key, value) else redis.call('SET', key, value, 'EX', seconds) end
        answers[place] = 'stored'
    end
end
return answers
""".encode()
_SHA: Final = hashlib.sha1(_SCRIPT, usedforsecurity=False).hexdigest().encode()
_Answers: TypeAlias = list[tuple[Sequence[bytes], Any]]
_OUTCOMES: Final = {outcome.value.encode(): outcome for outcome in Outcome if outcome is not Outcome.FAILED}


class ValkeyStore:
    """A Valkey or Redis server as a `Store`. A verb is one command to it; to a Cluster, one for each key, all at once.

    `url` is `valkey://` or `redis://`, with TLS `valkeys://` or `rediss://`, then `user:password@host:port/database`.
    Its query has options of redis-py's connections, as in `?ssl_ca_certs=ca.pem`, of which `client_options` are more,
    such as a `credential_provider`; and `replicas=N`, the number of replicas that have to confirm each write.

    `namespace` becomes a prefix of all keys. `deadline_seconds` bounds the wait for a connection and for each answer.
    """

    # A script keeps everybody else waiting, a few milliseconds for so many keys.
    limits = CallLimits(keys=1000, bytes=16 * 2**20, value_bytes=1_000_000)
    takes_ids = True

    def __init__(
        self,
        url: str,
        *,
        namespace: str = "",
        deadline_seconds: float = 5.0,
        client_options: Mapping[str, Any] | None = None,
    ) -> None:
        if not isinstance(namespace, str) or not _NAMESPACE.fullmatch(namespace):
            raise InvalidOptionError(
                f"namespace={brief(namespace)} cannot be: use up to 100 letters, digits, '.', '_' and '-'"
            )
        if type(deadline_seconds) not in (int, float) or not 0 < deadline_seconds <= 60:
            given = brief(deadline_seconds)
            raise InvalidOptionError(f"deadline_seconds={given} cannot be: use more than 0 and at most 60")
        options, replicas = _parsed(url)
        self.namespace = namespace
        self.deadline_seconds = deadline_seconds
        self.address = f"{options['host']}:{options.get('port', 6379)}"
        self._prefix = f"{namespace}:".encode() if namespace else b""
        options |= dict(client_options or {})
        for name in _DEADLINES.intersection(options):
            raise InvalidOptionError(
                f"{name} cannot be an option: deadline_seconds, which SIGNALS_MEMCACHE_SECONDS sets, is both"
            )
        try:
            self._wire = Wire(
                options,
                prefix=self._prefix,
                deadline_seconds=deadline_seconds,
                replicas=replicas,
                on_connect=self._warn,
            )
        except (TypeError, ValueError, RedisError) as error:
            raise InvalidOptionError(f"an option of the store {self.address} cannot be: {error}") from None

    def gets(self, keys: Collection[bytes]) -> Mapping[bytes, Read]:
        """Read all `keys`, with the ids that a later `Cas` needs."""
        wanted = checked_keys(keys, self.limits)
        reads: dict[bytes, Read] = dict.fromkeys(wanted, Absent.FAILED)
        for part, values in self._ask("gets", wanted, lambda keys: packed(b"MGET", *self._stored(keys))):
            for key, value in zip(part, values, strict=True):
                # An empty value is nothing of ours; the script takes it for missing too.
                reads[key] = Found(value[_ID_BYTES:], value[:_ID_BYTES]) if value else Absent.MISSING
        return reads

    def write(self, writes: Sequence[Write]) -> Mapping[bytes, Outcome]:
        """Carry out all `writes` by a script; on a single server nothing comes between them."""
        check_writes(writes, self.limits)
        arguments: dict[bytes, tuple[bytes, bytes, bytes]] = {}
        for write in writes:
            arguments[write.key] = (_expected(write), _value(write), b"%d" % write.ttl_seconds)

        def words(keys: Sequence[bytes]) -> list[bytes]:
            rest = chain.from_iterable([arguments[key] for key in keys])
            return [b"%d" % len(keys), *self._stored(keys), *rest]

        def run(keys: Sequence[bytes]) -> bytes:
            return packed(b"EVALSHA", _SHA, *words(keys))

        def load_and_run(keys: Sequence[bytes]) -> bytes:
            return packed(b"EVAL", _SCRIPT, *words(keys))

        outcomes = {write.key: Outcome.FAILED for write in writes}
        written = {write.key for write in writes if not isinstance(write, Check)}
        for part, answers in self._ask("write", list(outcomes), run, load_and_run, written=written):
            for key, answer in zip(part, answers, strict=True):
                outcomes[key] = _OUTCOMES[answer]
        return outcomes

    def delete(self, keys: Collection[bytes]) -> Mapping[bytes, bool]:
        """Delete all `keys`; True where the key is certainly gone."""
        wanted = checked_keys(keys, self.limits)
        gone = dict.fromkeys(wanted, False)
        for part, _ in self._ask("delete", wanted, lambda keys: packed(b"UNLINK", *self._stored(keys))):
            gone.update(dict.fromkeys(part, True))
        return gone

    def server_info(self) -> ServerInfo | None:
        """What the server says of itself, or None if it cannot be asked. Whoever asks first has its advice from it."""
        info = self._wire.info()
        return None if isinstance(info, Exception) else info

    def close(self) -> None:
        """Close the connections. The store may be used again."""
        self._wire.close()

    def _ask(
        self,
        verb: str,
        keys: Sequence[bytes],
        message: Callable[[Sequence[bytes]], bytes],
        message_if_unknown: Callable[[Sequence[bytes]], bytes] | None = None,
        *,
        written: Collection[bytes] = (),
    ) -> _Answers:
        """Ask the server, and return the keys that it answered for, with what it said; log the others."""
        if not keys:
            return []
        answers = self._wire.ask(keys, message, written=written)
        failures = _failures(answers)
        if not failures:
            return answers
        unknown = [key for part, error in failures if isinstance(error, NoScriptError) for key in part]
        if unknown and message_if_unknown:
            answers = [each for each in answers if not isinstance(each[1], NoScriptError)]
            answers += self._wire.ask(unknown, message_if_unknown, written=written)
            failures = _failures(answers)
        if failures:
            self._log(verb, failures)
        return [each for each in answers if not isinstance(each[1], Exception)]

    def _stored(self, keys: Sequence[bytes]) -> Sequence[bytes]:
        return [self._prefix + key for key in keys] if self._prefix else keys

    def _log(self, verb: str, failures: _Answers) -> None:
        error = failures[0][1]
        logger.warning(
            "a call to the store failed",
            extra={
                "signals_call": verb,
                "signals_keys": sum(len(part) for part, _ in failures),
                "signals_store": self.address,
                "signals_error": f"{type(error).__name__}: {error}",
            },
        )

    def _warn(self, info: ServerInfo) -> None:
        if info.advice:
            logger.warning(
                "the store may evict what waits",
                extra={"signals_store": self.address, "signals_eviction": info.eviction, "signals_advice": info.advice},
            )


def _failures(answers: _Answers) -> _Answers:
    return [each for each in answers if isinstance(each[1], Exception)]


def _expected(write: Write) -> Any:
    if isinstance(write, (Cas, Check)):
        return write.cas
    return b"" if isinstance(write, Add) else _WHATEVER


def _value(write: Write) -> bytes:
    if isinstance(write, Check):
        return b""
    new_cas = None if isinstance(write, Set) else write.new_cas
    return (new_cas or os.urandom(_ID_BYTES)) + write.value


def _parsed(url: str) -> tuple[dict[str, Any], int]:
    """Divide a URL into the client's options and the number of replicas. What is wrong is said without its password."""
    if not isinstance(url, str):
        raise InvalidOptionError(f"the URL of a store is a str, not {type(url).__name__}")
    # Where a password has a character that divides a URL, its pieces look like a host, a port or a database: none of
    # them is repeated.
    if not re.fullmatch(r"[!-~]+", url) or "#" in url:
        raise InvalidOptionError("the URL of a store is printable ASCII without '#'; write other characters as %XX")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise InvalidOptionError(f"the URL of a store cannot be read; {_SHAPE}") from None
    if parts.scheme not in _SCHEMES:
        raise InvalidOptionError("the URL of a store begins with valkey://, valkeys://, redis:// or rediss://")
    if not parts.hostname:
        raise InvalidOptionError(f"the URL of a store needs a host, as in {parts.scheme}://10.0.0.3:6379")
    if port == 0 or not re.fullmatch(r"/?\d*", parts.path):
        raise InvalidOptionError(f"after a host, the URL of a store has a port and the number of a database; {_SHAPE}")
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    replicas = query.pop(_REPLICAS, "0")
    if not re.fullmatch(r"\d", replicas):
        raise InvalidOptionError(f"replicas={replicas!r:.40} cannot be: give a number from 0 to 9")
    if not all(query.values()):
        raise InvalidOptionError(f"an option in the URL of a store has no value; {_SHAPE}")
    try:
        options = parse_url(parts._replace(scheme=_SCHEMES[parts.scheme], query=urlencode(query)).geturl())
    except ValueError as error:
        raise InvalidOptionError(f"the URL of a store: {error}") from None
    return options, int(replicas)
