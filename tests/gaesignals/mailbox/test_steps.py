"""The steps of a send: how many functions of ours it calls, whatever else the machine does meanwhile.

`benchmarks/cpu.py` prints the time that they take.
"""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from types import FrameType

import gaesignals
from gaesignals import Signal
from gaesignals.format.page import FULL_MESSAGES
from gaesignals.mailbox import Mailbox, use_mailbox
from gaesignals.observing import Observer
from gaesignals.testing import MemoryStore

MOST_FUNCTIONS = 175
"""Comprehensions are functions before Python 3.12."""
OURS = str(Path(gaesignals.__file__).parent)
PAGE_VIEWED = Signal("page_viewed")
SENDS = 2 * FULL_MESSAGES
"""Sealing has its share."""


class Deaf(Observer):
    def is_listening(self) -> bool:
        return False


def test_a_send_calls_few_functions() -> None:
    called: Counter[str] = Counter()

    def count(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(OURS):
            called[f"{Path(frame.f_code.co_filename).stem}.{frame.f_code.co_name}"] += 1

    previous = sys.getprofile()
    with use_mailbox(Mailbox(MemoryStore(), observer=Deaf())):
        PAGE_VIEWED.send({"path": "/"})
        sys.setprofile(count)
        try:
            for _ in range(SENDS):
                PAGE_VIEWED.send({"path": "/"})
        finally:
            sys.setprofile(previous)
    assert sum(called.values()) / SENDS <= MOST_FUNCTIONS, called.most_common()
