"""Says what would keep a worker from starting, without starting one: `python -m gaesignals_worker.preflight`.

It is a process of its own: what an application's modules do when they are imported stays there. It reads JSON with a
`directory`, the source root, and an `environ`, the `env_variables` of app.yaml; it writes a line that begins with
`VERDICT` and goes on in JSON: `problems`, a line each, the ids of the `receivers`, and the `lease_seconds` and `queues`
of those that declare them; and of the `names` asked about those that are `unmatched` by any receiver.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from gaesignals.receivers import Receivers

from .config import NAME_OF_RECEIVERS, Settings, SettingsError
from .loading import load_receivers, queue_problems

# Marks the line among all that modules may print while they are imported.
VERDICT = "preflight: "
# App Engine sets these by itself.
_PLATFORM = {"GAE_ENV": "standard", "GOOGLE_CLOUD_PROJECT": "project-id"}


def look(environ: Mapping[str, str], names: Sequence[str] = ()) -> dict[str, Any]:
    """Return what would be wrong with `environ` on App Engine; the modules of the receivers are imported."""
    problems: list[str] = []
    receivers: Receivers | None = None
    settings: Settings | None = None
    try:
        settings = Settings.from_env({**_PLATFORM, **environ})
    except SettingsError as error:
        problems += error.problems
    path = environ.get(NAME_OF_RECEIVERS, "").strip()
    # A path that is none is among the problems already.
    if path and not any(problem.startswith(NAME_OF_RECEIVERS) for problem in problems):
        try:
            receivers = load_receivers(path)
        except SettingsError as error:
            problems += error.problems
    if settings is not None and receivers is not None:
        problems += queue_problems(settings, receivers)
    if receivers is not None and not len(receivers):
        problems.append(f"{NAME_OF_RECEIVERS}={path!r}: no receiver is connected to it; import the modules that do so")
    return {
        "problems": problems,
        "receivers": [each.id for each in receivers or ()],
        "lease_seconds": {each.id: each.lease_seconds for each in receivers or () if each.lease_seconds is not None},
        "queues": {each.id: each.queue for each in receivers or () if each.queue is not None},
        # Of receivers that cannot be imported nobody knows what they match.
        "unmatched": [name for name in names if receivers is not None and not receivers.matching(name)],
    }


def main() -> None:
    """Look at what standard input says, and end, whatever threads the imported modules have started."""
    request = json.load(sys.stdin)
    os.chdir(request["directory"])
    sys.path.insert(0, request["directory"])
    os.environ.update(request["environ"])
    verdict = json.dumps(look(request["environ"], request["names"]))
    sys.stdout.write(f"\n{VERDICT}{verdict}\n")
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
