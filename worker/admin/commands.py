"""Commands to copy: what a button does, as a script or a terminal would do it."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from urllib.parse import quote_plus


def curl(url: str, fields: Iterable[tuple[str, str]] = (), *, needs_token: bool = False) -> str:
    """A curl command for a POSIX shell that posts `fields` to `url`, whatever they contain.

    With `needs_token` it sends the identity token that is in the variable TOKEN.
    """
    options = ["curl --fail-with-body --request POST"]
    if needs_token:
        options.append('--header "Authorization: Bearer $TOKEN"')
    options += [_option(name, value) for name, value in fields]
    return " \\\n  ".join([*options, shlex.quote(url)])


def _option(name: str, value: str) -> str:
    """The field's name and the first "=" keep curl from taking a leading "@" for a file.

    What nobody would see in the command is encoded in it, so that it may be copied from a page that writes it out.
    """
    if value.isprintable():
        return f"--data-urlencode {shlex.quote(f'{name}={value}')}"
    return f"--data {shlex.quote(f'{name}={quote_plus(value)}')}"


def resume_queue(queue: str, *, location: str, project: str) -> str:
    return shlex.join(["gcloud", "tasks", "queues", "resume", queue, f"--location={location}", f"--project={project}"])
