"""The figures of a fleet of twenty workers: `python -m tests.fleet`; `--short` leaves out those that take long."""

from __future__ import annotations

import argparse
import logging
import sys
import time

from .figures import FIGURES


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true")
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)
    failures = 0
    for figure in FIGURES:
        if options.short and figure.is_long:
            continue
        started = time.process_time()
        try:
            value = figure.measure()
        except AssertionError as error:
            text, is_met = f"{error}".split("\n")[0], False
        else:
            text, is_met = f"{value:,.1f}", figure.is_met_by(value)
        failures += not is_met
        seconds = time.process_time() - started
        verdict = "" if is_met else "NOT MET"
        print(f"{figure.what:62}{text:>10}  {figure.limit:14}{verdict:8}{seconds:6.1f} s", flush=True)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
