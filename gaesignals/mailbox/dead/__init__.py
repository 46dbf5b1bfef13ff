"""Dead letters: what puts one on the page of its name, and what a person does with it.

Each name has one page with its newest hundred, or another number, which does not expire; an index of sixteen pages
lists the names. Both live in memcache, which may forget them: a team that must not lose them keeps them in a database
from `Receivers(on_dead=...)`.
"""

from .counts import DeadCounts
from .requeue import DeadLetters

__all__ = ["DeadCounts", "DeadLetters"]
