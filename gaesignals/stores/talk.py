"""One exchange with one node: all its commands at once, then all its answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from redis.exceptions import AskError, MovedError, ReadOnlyError, RedisError, ResponseError

from .lines import FAILURES, Lines, packed

Address: TypeAlias = tuple[str, int]
_ASKING: Final = packed(b"ASKING")


class UnconfirmedError(RedisError):
    """A write that fewer replicas confirmed than were asked for."""


@dataclass(slots=True)
class Command:
    """A command over `keys`, which one node has. `answer` is what that said, or the exception that it came to.

    `is_write` says whether it changes any of them: only then do replicas have something to confirm.
    """

    keys: Sequence[bytes]
    message: bytes
    is_write: bool = False
    answer: Any = None
    is_open: bool = True
    redirect: Address | None = None
    is_asking: bool = False
    unreached: tuple[Address, ...] = ()

    def close(self, answer: Any) -> None:
        self.answer, self.is_open = answer, False

    def reopen(self, error: AskError, node: Address) -> None:
        """Send it to the node that `error` names; without a host, that is the answering one's."""
        self.redirect = (error.host or node[0], error.port)
        self.is_asking = not isinstance(error, MovedError)
        self.is_open = True


@dataclass(frozen=True, slots=True)
class Confirmation:
    """What to ask after a write, and how many replicas have to have it by then."""

    message: bytes
    replicas: int


class Talk:
    """What goes to one node, on one connection, and what comes back."""

    __slots__ = ("_commands", "_confirmation", "_connection", "_is_replica", "_lines", "_node", "_outstanding")

    def __init__(
        self, lines: Lines, node: Address, commands: Sequence[Command], confirmation: Confirmation | None
    ) -> None:
        self._lines = lines
        self._node = node
        self._commands = commands
        self._confirmation = confirmation if any(command.is_write for command in commands) else None
        self._connection: Any = None
        self._outstanding = 0
        self._is_replica = False

    def begin(self) -> None:
        try:
            self._connection = self._lines.take()
        except FAILURES as error:
            for command in self._commands:
                command.unreached = (*command.unreached, self._node)
                command.answer = error
            return
        messages = []
        for command in self._commands:
            if command.is_asking:
                messages.append(_ASKING)
            messages.append(command.message)
        if self._confirmation:
            messages.append(self._confirmation.message)
        self._outstanding = len(messages)
        try:
            self._connection.send_packed_command([b"".join(messages)])
        except FAILURES as error:
            self._fail(error)

    def finish(self) -> None:
        if not self._outstanding:
            return
        try:
            for command in self._commands:
                if command.is_asking:
                    self._read()
                command.close(self._read())
            if self._confirmation:
                self._confirm(self._read(), self._confirmation.replicas)
        except FAILURES as error:
            self._fail(error)

    def _read(self) -> Any:
        try:
            answer = self._connection.read_response()
        except ResponseError as error:  # the command failed, and the connection is as it was
            answer = error
            # What has become a replica keeps its connections; the name in the URL leads elsewhere by now.
            self._is_replica = self._is_replica or isinstance(error, ReadOnlyError)
        self._outstanding -= 1
        return answer

    def _confirm(self, confirmed: Any, needed: int) -> None:
        if isinstance(confirmed, Exception) or confirmed < needed:
            for command in self._commands:
                if not isinstance(command.answer, Exception):
                    command.close(UnconfirmedError(f"{needed} replicas were to confirm the write: {confirmed}"))

    def _fail(self, error: Exception) -> None:
        """Whatever has no answer when the connection fails is unknown."""
        for command in self._commands:
            if command.is_open or self._confirmation:
                command.close(error)
        self._lines.drop(self._connection)
        self._connection, self._outstanding = None, 0

    def end(self) -> None:
        """Give the connection back; not if an answer may still come on it, which somebody would take for theirs."""
        if self._connection is None:
            return
        if self._outstanding or self._is_replica:
            self._lines.drop(self._connection)
        else:
            self._lines.give(self._connection)
