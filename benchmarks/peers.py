"""Other libraries and this one on one Redis server in one run: `python -m benchmarks.peers`.

It makes an environment of its own, `.venv-peers`, with the libraries as they are installed by default, and starts a
server without files. Of each in turn one process sends, and then one process works that off. The table has the medians
of the rounds, and under it stands what it says of this library. `--with DIR` uses an environment that is there.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import venv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.servers import NO_FILES, Server

from .contenders import CONTENDERS, FILLED, MESSAGES, OUR_MESSAGES, SLOW_MESSAGES

ROOT = Path(__file__).parents[1]
PACKAGES = (
    "celery",
    "packaging",  # which Celery's transport for Redis imports, and does not ask for
    "dramatiq[redis]",
    "huey",
    "rq",
    "taskiq",
    "taskiq-redis",
    "arq",
    "redis[hiredis]",  # as our extra has it
    "cbor2",
    "opentelemetry-api",
)
OURS = "gaesignals"
WEAK, RELIABLE, BATCHES = f"{OURS} weak", f"{OURS} reliable", ", batches"
SLOW = ("rq",)
_COLUMNS = {"sent": 0, "drained": 0, "calls": 3, "bytes": 0, "send cpu": 0, "cpu": 0, "memory": 0}


def environment(directory: Path) -> Path:
    """The Python of an environment with all libraries, made if it is not there."""
    python = directory / "bin" / "python"
    if not python.exists():
        venv.create(directory, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *PACKAGES], check=True)
    return python


def measure(python: Path, server: Server, name: str) -> dict[str, float]:
    """Let one process send and one work, and return what that took."""
    server.command("FLUSHALL")
    count = SLOW_MESSAGES if name in SLOW else MESSAGES
    wanted = OUR_MESSAGES if name in FILLED else count
    sent = _run(python, server, "send", name, count)
    before = _traffic(server)
    worked = _run(python, server, "work", name, wanted)
    calls, size = (after - earlier for after, earlier in zip(_traffic(server), before, strict=True))
    return {
        "sent": sent["a_second"],
        "drained": worked["a_second"],
        "calls": calls / wanted,
        "bytes": size / wanted,
        "send cpu": sent["cpu_us"],
        "cpu": worked["cpu_us"],
        "memory": worked["megabytes"],
    }


def _run(python: Path, server: Server, act: str, name: str, wanted: int) -> dict[str, Any]:
    url = f"redis://127.0.0.1:{server.port}/0"
    done = subprocess.run(
        [python, "-m", "benchmarks.contenders", act, name, url, str(wanted)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if not lines:
        raise SystemExit(f"{name} did not {act}:\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
    answer: dict[str, Any] = json.loads(lines[-1])
    return answer


def _traffic(server: Server) -> tuple[int, int]:
    """Requests that the server has read, a pipeline counting as one, and bytes on the wire."""
    stats = server.command("INFO", "stats")
    return stats["total_reads_processed"], stats["total_net_input_bytes"] + stats["total_net_output_bytes"]


def table(rounds: dict[str, list[dict[str, float]]]) -> str:
    """Markdown, a line for each."""
    lines = [
        "| | sent a second | drained a second | requests | bytes | µs of CPU to send | to handle | MB of the worker |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, median in medians(rounds).items():
        numbers = [f"{median[key]:,.{digits}f}" for key, digits in _COLUMNS.items()]
        lines.append(f"| {' | '.join([name, *numbers])} |")
    return "\n".join(lines)


def medians(rounds: dict[str, list[dict[str, float]]]) -> dict[str, dict[str, float]]:
    return {
        name: {key: statistics.median(result[key] for result in results) for key in results[0]}
        for name, results in rounds.items()
    }


def comparison(rounds: dict[str, list[dict[str, float]]]) -> str:
    """What the table says of this library beside the others, as a list in Markdown."""
    of = medians(rounds)
    others = [median for name, median in of.items() if not name.startswith(OURS)]
    drained = max(other["drained"] for other in others)
    sent = [other["sent"] for other in others]

    def times(suffix: str) -> str:
        return " and ".join(f"{of[name + suffix]['drained'] / drained:.1f}" for name in (WEAK, RELIABLE))

    def a_second(suffix: str) -> str:
        return " and ".join(f"{of[name + suffix]['sent']:,.0f}" for name in (WEAK, RELIABLE))

    return (
        f"- Drained, as a multiple of the best of the others: {times('')} (weak and reliable) singly, "
        f"{times(BATCHES)} in batches.\n"
        f"- `send` one by one: {a_second('')} a second; the median of the others is {statistics.median(sent):,.0f}, "
        f"the best {max(sent):,.0f}.\n"
        f"- `send_many`: {a_second(BATCHES)} a second."
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--with", dest="directory", type=Path, default=ROOT / ".venv-peers")
    parser.add_argument("--only", nargs="+", choices=CONTENDERS, default=list(CONTENDERS))
    options = parser.parse_args(arguments)
    python = environment(options.directory)
    rounds: dict[str, list[dict[str, float]]] = {name: [] for name in options.only}
    with Server(*NO_FILES) as server:
        for number in range(options.rounds):
            for name in options.only:
                rounds[name].append(measure(python, server, name))
                print(f"round {number + 1}: {name}", file=sys.stderr, flush=True)
    print(table(rounds))
    if set(options.only) == set(CONTENDERS):
        print(f"\n{comparison(rounds)}")


if __name__ == "__main__":
    main()
