"""`python -m devserver`: the cloud on a laptop, until Ctrl-C."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from .options import read_options


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the cloud; 0 when it was ended, 2 if it cannot start as things are, 1 if a process does not come up."""
    options = read_options(arguments)
    print(f"Starting the local cloud of {' and '.join(map(str, options.roots))}.", flush=True)
    # It brings in App Engine's SDK and gRPC, which takes seconds, and nobody is to wonder meanwhile.
    from .cloud import run

    return run(options)


if __name__ == "__main__":
    sys.exit(main())
