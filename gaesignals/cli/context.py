"""What every command is given besides its options."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from .address import Address
from .client import Client
from .terminal import Terminal
from .token import find_token


@dataclass(frozen=True, slots=True)
class Context:
    """The terminal to talk to and the environment to look into."""

    terminal: Terminal
    environ: Mapping[str, str] = field(default_factory=lambda: dict(os.environ), repr=False)

    def client(self, options: argparse.Namespace) -> Client:
        """Make the client of the worker that the options name, with the token that they lead to."""
        address = Address.parse(options.url)
        token = find_token(address, token=options.token, audience=options.audience, environ=self.environ)
        return Client(address, token=token, timeout_seconds=options.timeout)
