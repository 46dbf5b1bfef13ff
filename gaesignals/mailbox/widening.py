"""How a hot name becomes wider: senders that lose to others move to lanes that it has not had yet."""

from __future__ import annotations

from random import Random

from gaesignals.format.page import MAX_WIDTH

LOSSES_TO_WIDEN = 2


def lane_after_losses(losses: int, width: int, random: Random) -> int:
    """The lane for the next attempt of a send that lost so often, the last time at `width`.

    Two losses double the width, and move to one of the new lanes.
    """
    if losses < LOSSES_TO_WIDEN:
        return random.randrange(width)
    return random.choice(range(width, 2 * width) if width < MAX_WIDTH else range(MAX_WIDTH))
