"""A process that sends until it is killed: `python -m tests.stress.sender API_PORT`."""

from __future__ import annotations

import random
import sys
import uuid

from devserver.appengine.client import connected
from gaesignals import SendError, send_many

from .records import Notebook


def main(api_port: int) -> None:
    """Write down what is attempted before each send, and what it said afterwards."""
    attempted, acknowledged, unsure = Notebook("attempted"), Notebook("acknowledged"), Notebook("unsure")
    with connected(api_port):
        while True:
            pairs = [_pair() for _ in range(random.choice((1, 1, 1, 1, 20)))]
            keys = [data for _, data in pairs]
            attempted.write(*keys)
            try:
                send_many(pairs)
            except SendError as error:
                # Ids are not keys, so all that is known is that some are stored.
                unsure.write(*(keys if error.stored or error.unsure else ()))
            else:
                acknowledged.write(*keys)


def _pair() -> tuple[str, str]:
    name = random.choice(("hot", "hot", "batched", f"user_{random.randrange(50)}_changed", "weak"))
    return name, f"{name.split('_')[0]}/{uuid.uuid4().hex}" + "x" * random.choice((0, 0, 0, 3000))


if __name__ == "__main__":
    main(int(sys.argv[1]))
