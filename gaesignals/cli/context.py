"""What every command is given besides its options."""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from .address import LOCAL_WORKER, Address
from .client import Client
from .terminal import Terminal
from .token import find_token

URL_VARIABLE = "GAESIGNALS_URL"


@dataclass(frozen=True, slots=True)
class Context:
    """The terminal to talk to, the environment to look into, and how to wait."""

    terminal: Terminal
    environ: Mapping[str, str] = field(default_factory=lambda: dict(os.environ), repr=False)
    sleep: Callable[[float], None] = time.sleep

    def client(self, options: argparse.Namespace) -> Client:
        """Make the client of the worker that the options name, with the token that they lead to."""
        address = Address.parse(options.url or self.environ.get(URL_VARIABLE) or LOCAL_WORKER)
        token = find_token(address, token=options.token, audience=options.audience, environ=self.environ)
        return Client(address, token=token, timeout_seconds=options.timeout)
