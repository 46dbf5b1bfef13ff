"""What can be wrong with App Engine's yaml files."""

from __future__ import annotations

from gaesignals.errors import SignalsError


class ConfigError(SignalsError, ValueError):
    """A file or an option that cannot be used; the message is one line for the person who wrote it."""
