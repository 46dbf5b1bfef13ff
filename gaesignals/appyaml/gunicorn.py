"""What a command line starts gunicorn with: the app, and those settings that decide whether a worker works.

Options are read as gunicorn reads them, and its configuration file is read but never run: what is no plain value there
is not known.
"""

from __future__ import annotations

import ast
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from gaesignals.digits import whole_number

# What App Engine serves where there is no entrypoint, and gunicorn where only a module is named.
DEFAULT_APP = "main:app"
_DEFAULT_ATTRIBUTE = "application"
_DEFAULT_FILE = "gunicorn.conf.py"
# More than any number here means: what is more is a slip, and not known.
_MOST = 2**31 - 1

# The settings that are looked at, by their options.
_OPTIONS = {
    "-b": "bind",
    "--bind": "bind",
    "-c": "config",
    "--config": "config",
    "--chdir": "chdir",
    "--header-map": "header_map",
    "-k": "worker_class",
    "--worker-class": "worker_class",
    "--threads": "threads",
    "-t": "timeout",
    "--timeout": "timeout",
    "-w": "workers",
    "--workers": "workers",
}
# The options without a value; all others have one.
_FLAGS = """-h --help -v --version -D --daemon -R --enable-stdio-inheritance --reload --spew --check-config
    --print-config --preload --no-sendfile --reuse-port --initgroups --disable-redirect-access-to-syslog
    --capture-output --log-syslog --enable-backlog-metric --suppress-ragged-eofs --do-handshake-on-connect
    --permit-obsolete-folding --strip-header-spaces --permit-unconventional-http-method
    --permit-unconventional-http-version --casefold-http-method --no-control-socket"""
FLAGS = frozenset(_FLAGS.split())
_DEFAULTS = {"worker_class": "sync", "threads": "1", "timeout": "30", "workers": "1", "header_map": "drop"}


@dataclass(frozen=True, slots=True)
class Gunicorn:
    """A gunicorn: the `app` it serves, None if that is not known, and its settings as far as they are given.

    A setting that is None is given, as something that is not known.
    """

    app: str | None
    settings: Mapping[str, str | None] = field(default_factory=dict)

    @classmethod
    def parse(cls, command: str, *, directory: Path, environ: Mapping[str, str]) -> Gunicorn | None:
        """Read what `command` starts in `directory`; None if that is no gunicorn.

        What is given on the command line counts more than in GUNICORN_CMD_ARGS, and that more than in the file.
        """
        words = _words(command)
        names = [PurePosixPath(word).name for word in words]
        if "gunicorn" not in names:
            return None
        app, given = _read(words[names.index("gunicorn") + 1 :])
        _, inherited = _read(_words(environ.get("GUNICORN_CMD_ARGS", "")))
        given = inherited | given
        in_file = _in_file(directory, given.get("config"))
        workers = {"workers": environ["WEB_CONCURRENCY"]} if environ.get("WEB_CONCURRENCY") else {}
        settings = workers | in_file | given
        app = app or settings.get("wsgi_app")
        return cls(app if app is None or ":" in app else f"{app}:{_DEFAULT_ATTRIBUTE}", settings)

    def setting(self, name: str) -> str | None:
        """The value that a setting has, gunicorn's default included; None if it is not known or has none."""
        return self.settings.get(name, _DEFAULTS.get(name))

    def number(self, name: str) -> int | None:
        """The same of a setting that is a number."""
        return whole_number(self.setting(name) or "", most=_MOST)


def _words(command: str) -> list[str]:
    """The words of the first command of a shell's line that starts gunicorn, or of all of it."""
    lexer = shlex.shlex(command, posix=True, punctuation_chars=";&|")
    lexer.whitespace_split, lexer.commenters = True, ""
    try:
        words = list(lexer)
    except ValueError:
        words = command.split()
    commands: list[list[str]] = [[]]
    for word in words:
        if word.strip(";&|"):
            commands[-1].append(word)
        else:
            commands.append([])
    return next((each for each in commands if any(PurePosixPath(word).name == "gunicorn" for word in each)), words)


def _read(words: Sequence[str]) -> tuple[str | None, dict[str, str | None]]:
    """The first word that is neither an option nor the value of one, and the values of the options."""
    positional: list[str] = []
    given: dict[str, str | None] = {}
    rest = iter(words)
    for word in rest:
        if word == "--":
            positional += rest
        elif not word.startswith("-") or word == "-":
            positional.append(word)
        elif word not in FLAGS:
            option, value = _option(word, rest)
            if option in _OPTIONS:
                given[_OPTIONS[option]] = value
    return (positional[0] if positional else None), given


def _option(word: str, rest: Iterator[str]) -> tuple[str, str | None]:
    if word.startswith("--"):
        option, equals, value = word.partition("=")
        return option, value if equals else next(rest, None)
    # -w2, -w=2 and -w 2 are the same.
    return word[:2], word[2:].removeprefix("=") or next(rest, None)


def _in_file(directory: Path, named: str | None) -> dict[str, str | None]:
    name = (named or _DEFAULT_FILE).removeprefix("file:")
    if name.startswith("python:"):
        name = name.removeprefix("python:").replace(".", "/") + ".py"
    try:
        tree = ast.parse((directory / name).read_bytes())
    except (OSError, SyntaxError, ValueError, RecursionError):
        return {}
    plain = {name: value for node in tree.body for name, value in _assigned(node)}
    every = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    return {name: plain.get(name) for name in every}


def _assigned(node: ast.stmt) -> Iterator[tuple[str, str]]:
    if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant):
        yield from ((target.id, str(node.value.value)) for target in node.targets if isinstance(target, ast.Name))
