"""What can be wrong with the files and options that the local cloud is given."""

from __future__ import annotations

from gaesignals.appyaml.errors import ConfigError

__all__ = ["ConfigError"]
