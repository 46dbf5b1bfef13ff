"""The shop's receivers, under the name that the repository's app.yaml has for them."""

from __future__ import annotations

from shop.signals import receivers

__all__ = ["receivers"]
