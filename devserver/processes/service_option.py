"""The option that tells a process of the local cloud where a service runs."""

from __future__ import annotations

import argparse


def service(text: str) -> tuple[str, str]:
    """Read NAME=http://HOST:PORT; argparse's own error if it is something else."""
    name, equals, url = text.partition("=")
    if not (name and equals and url.startswith("http://")):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=http://HOST:PORT")
    return name, url
