"""The identity token that a deployed worker asks for: where it comes from, and where it may go."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Mapping

from .address import Address
from .errors import UnreachableError, UsageError

TOKEN_VARIABLE = "GAESIGNALS_TOKEN"
_GCLOUD_SECONDS = 60.0
# What a header can carry, and every token is made of.
_TOKEN = re.compile(r"[A-Za-z0-9._~+/=-]+")


def find_token(address: Address, *, token: str | None, audience: str | None, environ: Mapping[str, str]) -> str | None:
    """Return the token to send to `address`: the given one, gcloud's for `audience`, or that of the environment.

    UsageError if it would travel where it can be read on the way, or is none; UnreachableError if gcloud has none.
    """
    source = _source(token, audience, environ)
    if source is None:
        return None
    if not address.is_private:
        raise UsageError(f"the token of {source} would be readable on its way to {address.url}; use https://")
    if token is None:
        token = _ask_gcloud(audience, environ) if audience is not None else environ[TOKEN_VARIABLE]
    if not _TOKEN.fullmatch(token.strip()):
        raise UsageError(f"what {source} gives is no token: it has to be one word")
    return token.strip()


def _source(token: str | None, audience: str | None, environ: Mapping[str, str]) -> str | None:
    if token is not None:
        return "--token"
    if audience is not None:
        return "--audience"
    return TOKEN_VARIABLE if environ.get(TOKEN_VARIABLE) else None


def _ask_gcloud(audience: str, environ: Mapping[str, str]) -> str:
    gcloud = shutil.which("gcloud", path=environ.get("PATH"))
    if gcloud is None:
        raise UsageError("--audience asks gcloud for a token, which is not installed; give --token instead")
    command = [gcloud, "auth", "print-identity-token", f"--audiences={audience}"]
    try:
        done = subprocess.run(
            command,
            env=dict(environ),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_GCLOUD_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UnreachableError(f"gcloud gave no token: {error}") from error
    if done.returncode:
        said = " ".join(done.stderr.split()) or f"exit code {done.returncode}"
        raise UnreachableError(f"gcloud gave no token: {said}")
    return done.stdout
