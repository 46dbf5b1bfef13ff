"""The index of waiting names: what puts a name in, what takes it out, and handing those that are due on."""

from .fan_out import FanOut, Index

__all__ = ["FanOut", "Index"]
