"""The index of waiting names: what puts a name in, what takes one out, and handing on those that are due."""

from .fan_out import FanOut, Index

__all__ = ["FanOut", "Index"]
