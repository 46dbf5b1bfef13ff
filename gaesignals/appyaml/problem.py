"""One thing that would fail after deployment."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong in `file`, and what to do about it. `code` names the kind, for programs."""

    file: str
    code: str
    what: str
    remedy: str

    def __str__(self) -> str:
        """All of it in one line."""
        return " ".join(f"{self.file}: {self.what}; {self.remedy}".split())

    def to_json(self) -> dict[str, str]:
        """The problem's fields."""
        return dataclasses.asdict(self)
