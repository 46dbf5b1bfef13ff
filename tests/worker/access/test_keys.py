"""The keys that tokens are checked with: when they are fetched, how long they are kept, and from what answers."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from gaesignals.testing import ManualClock
from worker.access.keys import (
    MAX_SECONDS,
    REFETCH_SECONDS,
    USUAL_SECONDS,
    Fetched,
    KeysError,
    PublicKeys,
    fetch_keys,
)

URL = "https://keys.example"


class Issuer:
    """Counts how often it is asked, and answers as it is told."""

    def __init__(self, *, max_age_seconds: float | None = 600.0) -> None:
        self.clock = ManualClock()
        self.answer: Fetched | KeysError = Fetched({"one": "PEM 1"}, max_age_seconds)
        self.asked = 0
        self.keys = PublicKeys(URL, fetch=self._fetch, clock=self.clock)

    def _fetch(self, url: str) -> Fetched:
        assert url == URL
        self.asked += 1
        if isinstance(self.answer, KeysError):
            raise self.answer
        return self.answer

    def has(self, key_id: str) -> bool:
        try:
            return bool(self.keys.find(key_id))
        except KeysError:
            return False


class TestKeys:
    def test_are_fetched_on_first_use_and_kept_for_as_long_as_the_issuer_says(self) -> None:
        issuer = Issuer(max_age_seconds=600)
        assert issuer.asked == 0
        assert issuer.keys.find("one") == "PEM 1"
        issuer.clock.advance(599)
        assert (issuer.has("one"), issuer.asked) == (True, 1)
        issuer.clock.advance(1)
        assert (issuer.has("one"), issuer.asked) == (True, 2)

    @pytest.mark.parametrize(
        ("says", "kept"),
        [(None, USUAL_SECONDS), (10 * MAX_SECONDS, MAX_SECONDS), (0.0, REFETCH_SECONDS), (-5.0, REFETCH_SECONDS)],
    )
    def test_are_kept_within_bounds_whatever_the_issuer_says(self, says: float | None, kept: float) -> None:
        issuer = Issuer(max_age_seconds=says)
        assert issuer.has("one")
        issuer.clock.advance(kept - 1)
        assert (issuer.has("one"), issuer.asked) == (True, 1)
        issuer.clock.advance(1)
        assert (issuer.has("one"), issuer.asked) == (True, 2)

    def test_that_were_withdrawn_are_no_longer_good(self) -> None:
        issuer = Issuer()
        assert issuer.has("one")
        issuer.answer = Fetched({"two": "PEM 2"})
        issuer.clock.advance(600)
        assert not issuer.has("one")
        assert issuer.has("two")

    def test_that_are_unknown_are_looked_for_once_in_a_while(self) -> None:
        issuer = Issuer()
        assert issuer.has("one")
        issuer.clock.advance(REFETCH_SECONDS)
        issuer.answer = Fetched({"one": "PEM 1", "two": "PEM 2"}, 600)
        assert issuer.has("two")
        assert issuer.asked == 2

    def test_that_are_made_up_do_not_make_it_ask_each_time(self) -> None:
        issuer = Issuer()
        for number in range(100):
            assert not issuer.has(f"forged-{number}")
        assert issuer.asked == 1
        issuer.clock.advance(REFETCH_SECONDS)
        for number in range(100):
            assert not issuer.has(f"forged-{number}")
            assert issuer.has("one")
        assert issuer.asked == 2

    def test_that_cannot_be_fetched_are_a_refusal_and_a_line_in_the_log(self, caplog: pytest.LogCaptureFixture) -> None:
        issuer = Issuer()
        issuer.answer = KeysError("no answer: ReadTimeout")
        with pytest.raises(KeysError, match=r"keys\.example; they could not be fetched: no answer: ReadTimeout"):
            issuer.keys.find("one")
        assert [record.getMessage() for record in caplog.records] == ["keys for tokens could not be fetched"]
        assert caplog.records[0].__dict__["detail"] == "no answer: ReadTimeout"

    def test_that_cannot_be_fetched_are_not_asked_for_each_time(self) -> None:
        issuer = Issuer()
        good, issuer.answer = issuer.answer, KeysError("down")
        for _ in range(100):
            assert not issuer.has("one")
        assert issuer.asked == 1
        issuer.answer = good
        issuer.clock.advance(REFETCH_SECONDS)
        assert issuer.has("one")

    def test_that_are_known_stay_good_while_others_cannot_be_fetched(self) -> None:
        issuer = Issuer(max_age_seconds=600)
        assert issuer.has("one")
        issuer.answer = KeysError("down")
        issuer.clock.advance(REFETCH_SECONDS)
        assert not issuer.has("two")
        assert issuer.has("one")
        issuer.clock.advance(600)
        assert not issuer.has("one")

    def test_are_fetched_once_for_all_threads_that_need_them(self) -> None:
        is_asked, go_on = threading.Event(), threading.Event()
        asked = []

        def fetch(url: str) -> Fetched:
            asked.append(url)
            is_asked.set()
            assert go_on.wait(20)
            return Fetched({"one": "PEM 1"})

        keys = PublicKeys(URL, fetch=fetch)
        found: list[str] = []
        threads = [threading.Thread(target=lambda: found.append(keys.find("one"))) for _ in range(8)]
        for thread in threads:
            thread.start()
        assert is_asked.wait(20)
        go_on.set()
        for thread in threads:
            thread.join()
        assert (found, asked) == (["PEM 1"] * 8, [URL])


class Answers(ThreadingHTTPServer):
    """A server on this machine that gives one answer."""

    status = 200
    body = b'{"one": "PEM 1"}'
    headers: dict[str, str]
    url: str


@pytest.fixture
def server() -> Iterator[Answers]:
    class Handler(BaseHTTPRequestHandler):
        server: Answers

        def do_GET(self) -> None:
            self.send_response(self.server.status)
            for name, value in self.server.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(self.server.body)))
            self.end_headers()
            self.wfile.write(self.server.body)

        def log_message(self, format: str, *args: object) -> None: ...

    with Answers(("127.0.0.1", 0), Handler) as server:
        server.headers = {}
        server.url = f"http://127.0.0.1:{server.server_port}/certs"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


class TestFetching:
    def test_reads_ids_and_keys(self, server: Answers) -> None:
        assert fetch_keys(server.url) == Fetched({"one": "PEM 1"}, None)

    @pytest.mark.parametrize(
        ("headers", "seconds"),
        [
            ({"Cache-Control": "public, max-age=20613, must-revalidate, no-transform"}, 20_613),
            ({"Cache-Control": "max-age=600", "Age": "100"}, 500),
            ({"Cache-Control": "max-age=600", "Age": "soon"}, 600),
            ({"Cache-Control": "max-age=600", "Age": "-100"}, 600),
            ({"Cache-Control": "max-age=10", "Age": "100"}, -90),
            ({"Cache-Control": "no-store, max-age=600"}, 0),
            ({"Cache-Control": "no-cache"}, 0),
            ({"Cache-Control": "max-age=long"}, None),
            ({"Cache-Control": "public"}, None),
        ],
    )
    def test_reads_how_long_they_may_be_kept(
        self, server: Answers, headers: dict[str, str], seconds: float | None
    ) -> None:
        server.headers = headers
        assert fetch_keys(server.url).max_age_seconds == seconds

    @pytest.mark.parametrize(
        ("status", "body", "why"),
        [
            (500, b"{}", "the answer is 500"),
            (404, b'{"one": "PEM 1"}', "the answer is 404"),
            (200, b"<html>", "not JSON"),
            (200, b"\xff", "not JSON"),
            (200, b"", "not JSON"),
            (200, b"[" * 100_000, "not JSON"),
            (200, b"[]", "not an object"),
            (200, b'{"keys": [{"kid": "one"}]}', "not an object"),
        ],
    )
    def test_takes_nothing_else_for_keys(self, server: Answers, status: int, body: bytes, why: str) -> None:
        server.status, server.body = status, body
        with pytest.raises(KeysError, match=why):
            fetch_keys(server.url)

    def test_says_so_where_nobody_answers(self, server: Answers) -> None:
        server.shutdown()
        server.server_close()
        with pytest.raises(KeysError, match="no answer: ConnectionError"):
            fetch_keys(server.url)
