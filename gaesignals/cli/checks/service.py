"""A service of the project, as its yaml file describes it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

DEFAULT_SERVICE = "default"
RECEIVERS_VARIABLE = "SIGNALS_RECEIVERS"
_WORKER_APP = re.compile(r"\b(gaesignals_worker|worker)\.main:app\b")


@dataclass(frozen=True, slots=True)
class Service:
    """A service: `file` says where it stands, `info` what the SDK's parser read there."""

    file: str
    info: Any

    @property
    def name(self) -> str:
        """The name that App Engine knows it by."""
        return self.info.service or DEFAULT_SERVICE

    @property
    def environ(self) -> Mapping[str, str]:
        """Its `env_variables`."""
        return {name: str(value) for name, value in (self.info.env_variables or {}).items()}

    @property
    def entrypoint(self) -> str:
        """The command that starts it; empty if App Engine chooses."""
        return self.info.entrypoint or ""

    @property
    def runtime(self) -> str:
        """Such as python312."""
        return self.info.runtime or ""

    @property
    def is_python(self) -> bool:
        return self.runtime.startswith("python")

    @property
    def has_worker_signs(self) -> bool:
        """Whether it names receivers, or starts the worker's app."""
        return RECEIVERS_VARIABLE in self.environ or bool(_WORKER_APP.search(self.entrypoint))

    def option(self, *names: str) -> str | None:
        """The value of an option of its entrypoint, such as `--threads 8`; None if it has none of these."""
        for name in names:
            if found := re.search(rf"(?:^|\s){re.escape(name)}(?:\s+|=)(\S+)", self.entrypoint):
                return found[1]
        return None
