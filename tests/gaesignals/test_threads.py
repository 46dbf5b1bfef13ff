"""Several threads of one request send and deliver at the same time, through the SDK as App Engine's runtime uses it.

`wrap_wsgi_app` changes its whole process, so each test has one of its own.
"""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from devserver.appengine.server import ApiServer

ROOT = Path(__file__).parents[2]

PREPARE = """
    import os, sys
    from collections import Counter
    from concurrent.futures import ThreadPoolExecutor
    from google.appengine.api import wrap_wsgi_app
    from webtest import TestApp
    from gaesignals import Signal, StoreError, deliver
    from gaesignals import in_this_request

    def request(body):
        def app(environ, start_response):
            answer = str(body()).encode()
            start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(answer)))])
            return [answer]
        ticket = {"X-Appengine-Api-Ticket": "ticket"}
        return TestApp(wrap_wsgi_app(app), lint=False).get("/", headers=ticket).text
"""


def run(body: str) -> str:
    """Run a program against an API server; return what it printed."""
    with ApiServer() as server:
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", textwrap.dedent(PREPARE) + textwrap.dedent(body)],
            cwd=ROOT,
            env={"PATH": "", "API_HOST": "127.0.0.1", "API_PORT": str(server.port)},
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


POOLS = {
    "made in the request": "with ThreadPoolExecutor(8) as pool:",
    "made before the request": "with SHARED as pool:",
}


@pytest.mark.parametrize("pool", POOLS.values(), ids=POOLS.keys())
def test_threads_of_a_request_send_and_deliver_at_the_same_time(pool: str) -> None:
    printed = run(f"""
        SHARED = ThreadPoolExecutor(8)
        [future.result() for future in [SHARED.submit(lambda: None) for _ in range(8)]]
        handled = Counter()

        def body():
            def deliver_all():
                for _ in range(5):
                    deliver([("a", lambda data: handled.update([data]))], reliable=True)
            {pool}
                jobs = [pool.submit(in_this_request(Signal("a").send), number) for number in range(60)]
                jobs += [pool.submit(in_this_request(deliver_all)) for _ in range(4)]
                [job.result() for job in jobs]
            deliver_all()
            return len(handled) == 60 and set(handled.values()) == {{1}}

        print(request(body))
        SHARED.shutdown()
    """)
    assert printed == "True"


def test_a_thread_without_the_request_is_told_what_to_do() -> None:
    printed = run("""
        SHARED = ThreadPoolExecutor(1)
        SHARED.submit(lambda: None).result()

        def body():
            try:
                SHARED.submit(Signal("a").send).result()
            except StoreError as error:
                return error

        print(request(body))
        SHARED.shutdown()
    """)
    assert "in_this_request" in printed


def test_a_wsgi_application_goes_on_beside_an_asgi_one() -> None:
    printed = run("""
        from gaesignals.request import serving

        def send():
            try:
                return bool(Signal("a").send())
            except StoreError:
                return "refused"

        before = request(send)
        with serving({"HTTP_X_APPENGINE_API_TICKET": "another"}):
            inside = send()
            mixed = request(send)
        after = send()
        print(before, inside, mixed, after, request(send), send())
    """)
    assert printed == "True True True refused True refused"


def test_a_thread_is_left_as_it_was() -> None:
    printed = run("""
        SHARED = ThreadPoolExecutor(1)
        SHARED.submit(lambda: None).result()

        def body():
            SHARED.submit(in_this_request(Signal("a").send)).result()
            try:
                SHARED.submit(Signal("a").send).result()
            except StoreError:
                return "refused"

        print(request(body))
        SHARED.shutdown()
    """)
    assert printed == "refused"
