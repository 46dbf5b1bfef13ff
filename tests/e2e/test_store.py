"""The local cloud on a Valkey or Redis server: the same main job, with another store."""

from __future__ import annotations

from tests.servers import NO_FILES, Server, free_ports

from .conftest import Cloud

ALL = {"order_paid": 3, "page_viewed": 250, "user_54274_password_change": 1}


def test_signals_wait_on_the_server_that_the_command_line_names() -> None:
    with Server(*NO_FILES) as server:
        cloud = Cloud("--cron-every", "86400", "--store", server.url)
        try:
            cloud.wait_until_ready()
            assert cloud.has_printed(f"Store         127.0.0.1:{server.port}")
            for name, count in ALL.items():
                cloud.send(name, count=count, data='{"n": 1}')
            assert any(key.startswith(b"gs:p:") for key in server.command("KEYS", "*"))
            report = cloud.post("Worker", "/admin/drain", wait="1")
            assert report["delivered"] == sum(ALL.values())
            assert cloud.handled() == ALL
        finally:
            cloud.kill()


def test_a_server_that_is_not_there_is_said_at_once() -> None:
    (port,) = free_ports(1)
    cloud = Cloud("--store", f"valkey://:secret@127.0.0.1:{port}")
    assert cloud.wait() == 2
    assert f"no Valkey or Redis server answers at 127.0.0.1:{port}" in cloud.output
    assert "secret" not in cloud.output


def test_what_is_no_store_is_said_without_repeating_it() -> None:
    cloud = Cloud("--store", "http://:secret@127.0.0.1")
    assert cloud.wait() == 2
    assert "begins with valkey://" in cloud.output
    assert "secret" not in cloud.output
