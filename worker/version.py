"""Which code runs here: of the package, of the deployment, of this instance."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from importlib import metadata
from typing import Any

from gaesignals.mailbox.current import short_instance

from .config import Settings

UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Version:
    """`gaesignals` is the package's version, `deployed` App Engine's version of the service."""

    gaesignals: str
    service: str
    deployed: str
    instance: str
    started_at: datetime

    @classmethod
    def of(cls, settings: Settings, *, started_at: datetime) -> Version:
        return cls(package_version(), settings.service, settings.version, short_instance(settings.instance), started_at)

    def to_json(self) -> dict[str, Any]:
        return {
            "gaesignals": self.gaesignals,
            "service": self.service,
            "deployed": self.deployed,
            "instance": self.instance,
            "started_at": self.started_at.isoformat(timespec="seconds"),
        }


def package_version() -> str:
    """The version of the installed package; "unknown" where its source was deployed without installing it."""
    try:
        return metadata.version("gaesignals")
    except metadata.PackageNotFoundError:
        return UNKNOWN
