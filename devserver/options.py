"""What `python -m devserver` can be told on its command line."""

from __future__ import annotations

import argparse
import ipaddress
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gaesignals.digits import whole_number
from gaesignals.errors import InvalidOptionError
from gaesignals.stores.opening import open_store

from .place import PROGRAM
from .processes.ports import LOOPBACK

_HOST = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")
_APP = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


@dataclass(frozen=True, slots=True)
class Options:
    """The local cloud's options; a port of 0 is any that is free.

    `frontend` and `receivers` are None if the files in `roots` are to say what they are. `hosts` are names of this
    machine beside localhost, `bind` is the address at which the services are reached.
    """

    roots: tuple[Path, ...]
    frontend: str | None
    receivers: str | None
    frontend_port: int
    worker_port: int
    api_port: int
    tasks_port: int
    cron_every_seconds: float | None
    store: str | None = None
    hosts: tuple[str, ...] = ()
    bind: str = LOOPBACK

    @property
    def ports(self) -> Mapping[str, int]:
        """The ports by the option that sets them."""
        return {
            "--frontend-port": self.frontend_port,
            "--worker-port": self.worker_port,
            "--api-port": self.api_port,
            "--tasks-port": self.tasks_port,
        }


def read_options(arguments: Sequence[str] | None = None) -> Options:
    """Read the command line; print what is wrong with it and exit with 2 if anything is."""
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description="Run a whole cloud on this machine: memcache, Cloud Tasks, cron, and the services of an "
        "application as its yaml files describe them. What is changed in its files is loaded again.",
    )
    add = parser.add_argument
    where = "where app.yaml and the other yaml files and the modules are"
    add("directories", nargs="*", type=Path, metavar="DIR", help=f"{where} (default: this directory)")
    add("--frontend-port", type=_port, default=8080, metavar="PORT", help="of the frontend (%(default)s; 0: any free)")
    add("--worker-port", type=_port, default=8081, metavar="PORT", help="of the worker (%(default)s; 0: any free)")
    add("--api-port", type=_port, default=0, metavar="PORT", help="of App Engine's API server (default: any free)")
    add("--tasks-port", type=_port, default=0, metavar="PORT", help="of the Cloud Tasks emulator (default: any free)")
    add(
        "--receivers",
        type=_app,
        metavar="MODULE:NAME",
        help="what the worker delivers to (default: SIGNALS_RECEIVERS of the shell, or else of the worker's yaml)",
    )
    add(
        "--frontend",
        type=_app,
        metavar="MODULE:NAME",
        help="the WSGI app of the default service (default: what app.yaml says)",
    )
    add("--root", type=Path, metavar="DIR", help="another way to give DIR")
    add(
        "--cron-every",
        type=_seconds,
        metavar="SECONDS",
        dest="cron_every_seconds",
        help="run all cron jobs this often, whatever cron.yaml says",
    )
    add(
        "--store",
        type=_store,
        metavar="URL",
        help="a Valkey or Redis server to keep signals in, as valkey://127.0.0.1:6379 (default: SIGNALS_STORE of the "
        "shell, or else the memcache here)",
    )
    add(
        "--host",
        type=_host,
        action="append",
        default=[],
        metavar="NAME",
        dest="hosts",
        help="a name by which this machine is called beside localhost, as by the web preview of Cloud Shell",
    )
    add(
        "--bind",
        type=_address,
        default=LOOPBACK,
        metavar="ADDRESS",
        help="where the services listen (%(default)s; 0.0.0.0 in a container lets in whoever reaches it)",
    )
    options = vars(parser.parse_args(arguments))
    directories, root = options.pop("directories"), options.pop("root")
    if directories and root:
        parser.error("give either DIR or --root DIR")
    roots = tuple(path.resolve() for path in directories or [root or Path()])
    return Options(**options | {"roots": tuple(dict.fromkeys(roots)), "hosts": tuple(options["hosts"])})


def _host(text: str) -> str:
    if not _HOST.fullmatch(text):
        raise argparse.ArgumentTypeError(
            f"{text!r:.80} is no name of a machine, such as shop.example.com, without a port"
        )
    return text.lower()


def _address(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r:.80} is no IP address, such as {LOOPBACK} or 0.0.0.0") from None


def _port(text: str) -> int:
    port = whole_number(text, most=65535)
    if port is None:
        raise argparse.ArgumentTypeError(f"{text!r:.80} is no port: give a number from 0 to 65535")
    return port


def _app(text: str) -> str:
    if not _APP.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{text!r:.80} is not package.module:name")
    return text


def _store(text: str) -> str:
    try:
        open_store(text)
    except InvalidOptionError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0.01 <= seconds <= 86400:
        raise argparse.ArgumentTypeError(f"{text!r:.80} is no interval: give seconds from 0.01 to 86400")
    return seconds
