"""Openings: how a delivery begins, alone or where others are at work on the same names."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Final

from gaesignals.limits import LEASE_SECONDS, longest_lease
from gaesignals.mailbox.claim import Claimed
from gaesignals.receiver import Match


class Opening:
    """Nobody else is supposed to be at work: all that can be found is there at the first look."""

    def of_one_batch(self, matches: Mapping[str, Sequence[Match]]) -> Collection[str]:
        """The names of which the first claim is one batch: those that declare more than the default lease."""
        return {name for name, group in matches.items() if _declared(group) > LEASE_SECONDS}

    def looks_again(self, claimed: Claimed) -> bool:
        """Whether to look again in the next moment where the first look claimed nothing."""
        return False


def _declared(group: Sequence[Match]) -> float:
    return longest_lease(0, (match.receiver.lease_seconds for match in group))


class Joining(Opening):
    """Others are at work, and may hand back some of what they hold: whoever joins them takes a share, not all."""

    def of_one_batch(self, matches: Mapping[str, Sequence[Match]]) -> Collection[str]:
        return matches.keys()

    def looks_again(self, claimed: Claimed) -> bool:
        return any(claimed.live.values())


ALONE: Final = Opening()
JOINING: Final = Joining()
