"""`python -m tests.fuzz FIRST LAST`: try many seeds, and say which fail and why."""

from __future__ import annotations

import logging
import sys
import time

from .test_planted import check


def main() -> int:
    first, last = map(int, sys.argv[1:])
    logging.getLogger().addHandler(logging.NullHandler())
    failed = 0
    for seed in range(first, last):
        started = time.monotonic()
        try:
            check(seed, mutations=1 + seed % 3)
        except AssertionError as error:
            failed += 1
            print(f"seed {seed}: {str(error)[:3000]}", flush=True)
        if time.monotonic() - started > 5:
            print(f"seed {seed} took {time.monotonic() - started:.1f} s", flush=True)
    print(f"{last - first} seeds, {failed} failed")
    return failed != 0


if __name__ == "__main__":
    sys.exit(main())
