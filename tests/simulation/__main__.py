"""Run worlds: `python -m tests.simulation SEED` replays one, `--count N` runs that many from SEED on."""

from __future__ import annotations

import argparse
import functools
import logging
import multiprocessing
import sys
import time
from collections.abc import Sequence

from .world import OPTIONS, run_world


def _run(seed: int, options: Sequence[str]) -> str | None:
    try:
        run_world(seed, **dict.fromkeys(options, True))
    except AssertionError as error:
        return str(error)
    return None


def _quiet() -> None:
    logging.disable(logging.CRITICAL)


def main() -> int:
    """Print a line for each seed that breaks a promise, and a count."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("seed", type=int, nargs="?", default=0)
    parser.add_argument("--count", type=int, default=1)
    parser.add_argument("--processes", type=int, default=multiprocessing.cpu_count())
    parser.add_argument("--with", dest="extras", action="append", choices=OPTIONS, default=[])
    options = parser.parse_args()
    started = time.monotonic()
    failures = 0
    run = functools.partial(_run, options=options.extras)
    with multiprocessing.Pool(options.processes, _quiet) as pool:
        seeds = range(options.seed, options.seed + options.count)
        for done, error in enumerate(pool.imap_unordered(run, seeds, chunksize=20), start=1):
            if error is not None:
                failures += 1
                print(error, flush=True)
            if done % 10_000 == 0:
                print(f"{done} runs, {failures} failed, {time.monotonic() - started:.0f} s", flush=True)
    print(f"{options.count} interleavings: {options.count - failures} passed, {failures} failed")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
