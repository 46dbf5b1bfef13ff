"""The main job, end to end: signals sent through the frontend are handled by the worker."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .conftest import Cloud, wait_until

ALL = {"order_paid": 3, "page_viewed": 250, "user_54274_password_change": 1}


def send_all(cloud: Cloud) -> None:
    for name, count in ALL.items():
        cloud.send(name, count=count, data='{"n": 1}')


@pytest.fixture(scope="module")
def cloud() -> Iterator[Cloud]:
    """A cloud whose cron will not run before the tests are over."""
    cloud = Cloud("--cron-every", "86400")
    cloud.wait_until_ready()
    yield cloud
    cloud.kill()


@pytest.fixture
def quiet_cloud(cloud: Cloud) -> Cloud:
    cloud.flush()
    return cloud


def test_a_drain_that_waits_has_handled_everything_when_it_answers(quiet_cloud: Cloud) -> None:
    send_all(quiet_cloud)
    assert quiet_cloud.handled() == {}
    report = quiet_cloud.post("Worker", "/admin/drain", wait="1")
    assert report["delivered"] == sum(ALL.values())
    assert quiet_cloud.handled() == ALL


def test_a_drain_hands_everything_to_cloud_tasks(quiet_cloud: Cloud) -> None:
    send_all(quiet_cloud)
    quiet_cloud.post("Worker", "/admin/drain")
    quiet_cloud.wait_until_handled(ALL)
    assert quiet_cloud.handled() == ALL
    wait_until(lambda: quiet_cloud.has_printed("-> worker/tasks/deliver 200"))


def test_a_drain_may_be_for_some_names_alone(quiet_cloud: Cloud) -> None:
    send_all(quiet_cloud)
    quiet_cloud.post_json("Worker", "/admin/drain", {"names": ["order_paid"], "wait": True})
    assert quiet_cloud.handled() == {"order_paid": 3}
    quiet_cloud.post("Worker", "/admin/drain", wait="1", names=["page_viewed", "user_54274_password_change"])
    assert quiet_cloud.handled() == ALL


def test_cron_hands_everything_to_the_worker_without_anybody_asking() -> None:
    cloud = Cloud("--cron-every", "1")
    try:
        cloud.wait_until_ready()
        send_all(cloud)
        cloud.wait_until_handled(ALL)
        assert cloud.handled() == ALL
        wait_until(lambda: cloud.has_printed("worker/cron/drain 200"))
        # Once more, so that settled names are found again.
        cloud.send("order_paid")
        cloud.wait_until_handled(ALL | {"order_paid": 4})
        assert cloud.handled() == ALL | {"order_paid": 4}
    finally:
        cloud.kill()


def test_a_declined_order_is_shown_to_the_administrator(quiet_cloud: Cloud) -> None:
    quiet_cloud.send("order_paid", data='{"declined": true}')
    report = quiet_cloud.post("Worker", "/admin/drain", wait="1")
    assert (report["retried"], report["delivered"]) == (1, 0)
    assert quiet_cloud.handled() == {}
    assert "order_paid" in str(quiet_cloud.get("Worker", "/admin/status"))
