"""Ports of this machine: whether one is free, and one that is."""

from __future__ import annotations

import errno
import socket
from collections.abc import Mapping

from gaesignals.appyaml.errors import ConfigError

LOOPBACK = "127.0.0.1"


def choose_ports(wanted: Mapping[str, int]) -> dict[str, int]:
    """Check the port of each option, and choose a free one where it is 0.

    ConfigError, which names the port and the option, if a port is taken or two options have the same.
    """
    held: dict[str, socket.socket] = {}
    try:
        # All are held until all are chosen, so that no two get the same.
        for option, port in sorted(wanted.items(), key=lambda item: item[1] == 0):
            held[option] = _hold(option, port, held)
        return {option: listener.getsockname()[1] for option, listener in held.items()}
    finally:
        for listener in held.values():
            listener.close()


def _hold(option: str, port: int, held: Mapping[str, socket.socket]) -> socket.socket:
    for other, listener in held.items():
        if listener.getsockname()[1] == port:
            raise ConfigError(f"{other} and {option} are both {port}; give each a port of its own")
    try:
        listener = _listen(socket.AF_INET, LOOPBACK, port)
    except OSError as error:
        raise _taken(option, port, error) from error
    try:
        # Nothing here listens there, but browsers try it first for localhost and would find somebody else.
        _listen(socket.AF_INET6, "::1", listener.getsockname()[1]).close()
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            listener.close()
            raise _taken(option, port, error) from error
    return listener


def _listen(family: socket.AddressFamily, address: str, port: int) -> socket.socket:
    listener = socket.socket(family)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address, port))
        # A port that is bound but not listened on would be free for somebody else.
        listener.listen(1)
    except OSError:
        listener.close()
        raise
    return listener


def _taken(option: str, port: int, error: OSError) -> ConfigError:
    return ConfigError(f"port {port} is taken ({error.strerror}); choose another with {option} PORT")
