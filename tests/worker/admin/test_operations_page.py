"""docs/operations.md describes the status as it is: every field, and no other."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gaesignals import Receivers
from gaesignals.data.codec import dumps
from gaesignals.mailbox.box import Mailbox
from gaesignals.testing import MemoryStore

from ..conftest import MakeClient

PAGE = (Path(__file__).parents[3] / "docs" / "operations.md").read_text()
STATUS = PAGE.partition("## The status")[2].partition("\n## ")[0]


def paths(value: Any, path: str = "") -> Iterator[str]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from paths(item, f"{path}.{key}" if path else key)
    elif isinstance(value, list):
        assert value, f"nothing to look at in {path}"
        yield from paths(value[0], f"{path}[]")
    else:
        yield path


def test_every_field_is_described_in_its_order(make_client: MakeClient) -> None:
    store = MemoryStore()
    receivers = Receivers()
    seen = []

    def handle(data: object) -> None:
        if data == "look":
            seen.append(client.http.get("/admin/status").json)

    receivers.connect("firm", handle, reliable=True)
    client = make_client(receivers, store=store)
    client.http.post_json("/admin/pause", {"names": ["other"]})
    Mailbox(store).send([("firm", dumps(1)), ("nobodys", dumps(1))])
    client.task({"names": ["firm"]})
    Mailbox(store).send([("firm", dumps("look"))])
    client.task({"names": ["firm"]})
    (status,) = seen
    assert list(status["unmatched"][0]) == list(status["names"][0])
    status["unmatched"] = [None]
    documented = re.findall(r"^\| `([\w.\[\]]+)` \|", STATUS, re.MULTILINE)
    assert documented == list(paths(status))
