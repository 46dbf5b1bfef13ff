"""Sending over HTTP: who may, what the body may be, and that no answer says "stored" of what is not."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import Any

import pytest
from webtest import TestResponse

from gaesignals import Receivers
from gaesignals.stores.memory import Call
from gaesignals.testing import MemoryStore
from worker.access.tokens import GOOGLE, IAP
from worker.config import Environment
from worker.sending import MAX_MESSAGES

from .conftest import Client, MakeClient
from .signing import OIDC_AUDIENCE, KeyServer, token

SENDER, CALLER = "billing@shop-1.iam.gserviceaccount.com", "deployer@shop-1.iam.gserviceaccount.com"
Post = Callable[..., TestResponse]


@pytest.fixture
def handled() -> list[tuple[str, Any]]:
    return []


@pytest.fixture
def client(make_client: MakeClient, handled: list[tuple[str, Any]]) -> Client:
    receivers = Receivers()
    for name in ("a", "b"):
        receivers.connect(name, lambda data, name=name: handled.append((name, data)), id=name)
    return make_client(
        receivers,
        environment=Environment.STANDARD,
        fetch_keys=KeyServer(),
        oidc_audience=OIDC_AUDIENCE,
        oidc_senders=frozenset({SENDER}),
        oidc_callers=frozenset({CALLER}),
    )


@pytest.fixture
def post(client: Client) -> Post:
    def post(body: object, *, email: str = SENDER, status: int = 200, **headers: str) -> TestResponse:
        bearer = {"Authorization": f"Bearer {token(GOOGLE, email=email)}"}
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        return client.http.post(
            "/send", raw, headers={**bearer, **headers}, content_type="application/json", status=status
        )

    return post


def test_a_message_is_stored_and_delivered(client: Client, post: Post, handled: list[tuple[str, Any]]) -> None:
    answer = post({"name": "a", "data": {"order": 12, "items": [1.5, None, "\u00e9"]}})
    assert answer.json["sent"] == len(answer.json["ids"]) == 1
    client.http.get("/cron/drain", headers={"X-Appengine-Cron": "true"})
    client.run_tasks()
    assert handled == [("a", {"order": 12, "items": [1.5, None, "\u00e9"]})]


def test_a_list_is_stored_as_one_send_and_data_may_be_left_out(
    client: Client, post: Post, handled: list[tuple[str, Any]]
) -> None:
    answer = post([{"name": "a"}, {"name": "b", "data": [1]}, {"name": "a", "data": None}])
    assert answer.json["sent"] == len(set(answer.json["ids"])) == 3
    client.http.get("/cron/drain", headers={"X-Appengine-Cron": "true"})
    client.run_tasks()
    assert sorted(handled, key=str) == [("a", None), ("a", None), ("b", [1])]


def test_the_log_has_each_name_once(post: Post, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "gaesignals.worker"):
        post([{"name": name} for name in ("a", "b", "a", "a")])
    (record,) = [each for each in caplog.records if each.message == "messages of a sender"]
    assert (record.__dict__["signals_count"], record.__dict__["signals_names"]) == (4, ["'a'", "'b'"])


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "is not JSON"),
        (b"{", "is not JSON"),
        (b"NaN", "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b'{"name": "a", "data": Infinity}', "is not JSON"),
        (b'{"name": "a", "name": "b"}', "has a field twice"),
        ("a", "a message has to be a JSON object, not a string"),
        ([], "send 1 to 1000 at a time"),
        ([{"name": "a"}] * (MAX_MESSAGES + 1), "the list has 1001 messages"),
        ([{"name": "a"}, []], "a message has to be a JSON object, not a list"),
        ({}, "name is missing"),
        ({"data": 1}, "name is missing"),
        ({"name": 1}, "a name is a str, not int"),
        ({"name": "a\n"}, "control character"),
        ({"name": "a" * 201}, "200 is the most"),
        ({"name": "a", "receivers": ["b"]}, "unknown field 'receivers'; there is name, data"),
        ({"name": "a", "data": 2**80_001}, "an int of more than 80,000 bits"),
        ({"name": "a", "data": ["\ud800"]}, "lone surrogate"),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_a_body_that_cannot_be_is_refused_and_nothing_of_it_is_stored(
    client: Client, post: Post, body: object, said: str
) -> None:
    if isinstance(body, dict) and isinstance(body.get("data"), int) and body["data"] > 10**10:
        body = b'{"name": "a", "data": 1' + b"0" * 25_000 + b"}"
        said = "is not JSON"  # Python's own limit of digits comes first
    assert said in post(body, status=400).json["error"]
    assert client.http.get("/cron/drain", headers={"X-Appengine-Cron": "true"}).json["names"] == 0


def test_another_type_of_content_or_too_much_of_it_is_refused(client: Client, post: Post) -> None:
    bearer = {"Authorization": f"Bearer {token(GOOGLE, email=SENDER)}"}
    for kind in ("text/plain", "application/x-www-form-urlencoded"):
        client.http.post("/send", b'{"name": "a"}', headers=bearer, content_type=kind, status=415)
    post({"name": "a", "data": "x" * 2**20}, status=413)


class TestWhoMaySend:
    def test_is_a_listed_sender_and_nobody_else(self, post: Post, caplog: pytest.LogCaptureFixture) -> None:
        post({"name": "a"}, email=SENDER.upper())
        for email in (CALLER, "mallory@example.com"):
            post({"name": "a"}, email=email, status=403)
            assert "is not in SIGNALS_OIDC_SENDERS" in caplog.records[-1].__dict__["cause"]

    def test_is_no_caller_of_the_administrators_routes(self, client: Client) -> None:
        bearer = {"Authorization": f"Bearer {token(GOOGLE, email=SENDER)}"}
        client.http.get("/admin/status", headers=bearer, status=403)

    def test_needs_a_token_whoever_is_signed_in(self, client: Client, app_engine: Any) -> None:
        app_engine.setup_env(user_email="ada@example.com", user_is_admin="1", user_id="1", overwrite=True)
        for headers in (
            {},
            {"X-Goog-IAP-JWT-Assertion": token(IAP, email=SENDER)},
            {"X-Appengine-Cron": "true"},
            {"X-AppEngine-QueueName": "signals"},
            {"Authorization": "Bearer "},
            {"Authorization": f"Bearer {token(GOOGLE, email=SENDER, aud='another service')}"},
        ):
            client.http.post("/send", b'{"name": "a"}', headers=headers, content_type="application/json", status=403)

    def test_is_no_page_of_another_site(self, post: Post) -> None:
        post({"name": "a"}, Origin="https://evil.example", status=403)
        post({"name": "a"}, **{"Sec-Fetch-Site": "cross-site"}, status=403)

    def test_is_anybody_on_this_machine_under_the_local_server(self, make_client: MakeClient) -> None:
        local = make_client(Receivers())
        local.http.post_json("/send", {"name": "a"})
        local.http.post_json("/send", {"name": "a"}, extra_environ={"REMOTE_ADDR": "203.0.113.9"}, status=403)
        local.http.post_json("/send", {"name": "a"}, headers={"Origin": "https://evil.example"}, status=403)


class TestMemcacheInTrouble:
    def test_is_said_and_never_a_success(self, client: Client, post: Post, break_memcache: Callable[[], None]) -> None:
        break_memcache()
        answer = post([{"name": "a"}, {"name": "b"}], status=503)
        assert answer.json == {"error": "not all messages were stored", "stored": 0, "unsure": 0, "failed": 2}

    def test_tells_how_many_are_stored_and_how_many_may_be(self, make_client: MakeClient) -> None:
        store = MemoryStore()

        def lose_the_page_of_b(call: Call) -> Any:
            return [key for key in call.keys if b":b" in key and call.verb == "write"]

        store.before = lose_the_page_of_b
        local = make_client(Receivers(), store=store)
        answer = local.http.post_json("/send", [{"name": "a"}, {"name": "b"}], status=503)
        assert (answer.json["stored"], answer.json["unsure"] + answer.json["failed"]) == (1, 1)


def test_a_message_may_wake_the_worker_and_be_durable(client: Client, post: Post) -> None:
    post([{"name": "a", "wake": True, "durable": True}, {"name": "b"}])
    assert [json.loads(each.task.body) for each in client.tasks.waiting("signals")] == [{"names": ["a"]}]
    assert len(client.tasks.waiting("signals-safety")) == 1


def test_what_a_task_does_not_hold_is_refused(client: Client, post: Post) -> None:
    body = {"name": "order_paid", "data": "x" * 90_000, "durable": True}
    assert "a task holds 90,000" in post(body, status=400).json["error"]
    assert client.tasks.added == []


def test_of_messages_of_which_only_the_newest_counts_one_is_left(
    client: Client, post: Post, handled: list[tuple[str, Any]]
) -> None:
    post({"name": "a", "data": 1, "latest": True})
    post([{"name": "a", "data": 2, "latest": True}, {"name": "a", "data": 3, "latest": True}])
    client.http.get("/cron/drain", headers={"X-Appengine-Cron": "true"})
    client.run_tasks()
    assert handled == [("a", 3)]


@pytest.mark.parametrize("wrong", [{"wake": "soon"}, {"wake": -1}, {"wake": 10**400}, {"durable": 1}, {"latest": 1}])
def test_what_wake_and_durable_cannot_be_is_refused(post: Post, wrong: dict[str, Any]) -> None:
    assert "cannot be" in post({"name": "a", **wrong}, status=400).json["error"]
