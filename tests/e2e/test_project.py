"""A project of its own under the local cloud: found by its files, loaded again when they change, and narrated."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from .conftest import ROOT, Cloud, wait_until


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the shop, as if it had been checked out alone."""
    target = tmp_path_factory.mktemp("team") / "project"
    shutil.copytree(ROOT / "examples" / "shop", target, ignore=shutil.ignore_patterns("__pycache__"))
    (target / "__init__.py").unlink()
    (target / "api.yaml").write_text("service: api\nruntime: python312\nentrypoint: gunicorn -b :$PORT api:app\n")
    (target / "api.py").write_text(api("one"))
    (target / "dispatch.yaml").write_text("dispatch:\n- url: '*/api/*'\n  service: api\n")
    return target


def api(answer: str) -> str:
    return f"def app(environ, start_response):\n    start_response('200 OK', [])\n    return [b'\"{answer}\"']\n"


@pytest.fixture(scope="module")
def cloud(root: Path) -> Iterator[Cloud]:
    cloud = Cloud(str(root), "--cron-every", "86400", program=("gaesignals", "local"))
    cloud.wait_until_ready()
    yield cloud
    cloud.kill()


def edit(path: Path, change: Callable[[str], str]) -> None:
    path.write_text(change(path.read_text()))


def test_all_its_services_run_and_signals_go_from_one_to_the_other(cloud: Cloud) -> None:
    cloud.send("order_paid", count=3)
    assert cloud.post("Worker", "/admin/drain", wait="1")["delivered"] == 3
    assert cloud.handled()["order_paid"] == 3
    assert cloud.get("api", "/") == cloud.get("Frontend", "/api/orders") == "one"


def test_the_log_says_which_signal_went_where(cloud: Cloud) -> None:
    cloud.send("page_viewed", count=2)
    cloud.post("Worker", "/admin/drain", wait="1")
    wait_until(lambda: cloud.has_printed("delivered 2 × page_viewed"))
    assert cloud.has_printed("frontend | sent 2 × page_viewed")
    assert re.search(r"^worker   \| delivered 2 × page_viewed to shop\.signals\.count_views$", cloud.output, re.M)


def test_a_change_is_loaded_and_memcache_keeps_what_it_holds(cloud: Cloud, root: Path) -> None:
    cloud.send("order_paid")
    before = cloud.handled()
    edit(root / "api.py", lambda text: text.replace("one", "two"))
    wait_until(lambda: cloud.has_printed("api.py changed: loading worker, frontend, api service again"))
    wait_until(lambda: cloud.get("api", "/") == "two")
    assert cloud.handled() == before
    assert cloud.post("Worker", "/admin/drain", wait="1")["delivered"] == 1


def test_a_broken_change_is_one_line_and_what_runs_goes_on(cloud: Cloud, root: Path) -> None:
    good = (root / "api.py").read_text()
    edit(root / "api.py", lambda text: f"def broken(:\n{text}")
    wait_until(lambda: cloud.has_printed("not loaded: api cannot be imported: SyntaxError"))
    (line,) = [line for line in cloud.lines if "SyntaxError" in line]
    assert "(api.yaml: entrypoint)" in line
    assert cloud.get("api", "/") == "two"
    (root / "api.py").write_text(good.replace("two", "three"))
    wait_until(lambda: cloud.get("api", "/") == "three")


def test_a_broken_yaml_file_is_one_line_too(cloud: Cloud, root: Path) -> None:
    good = (root / "worker.yaml").read_text()
    (root / "worker.yaml").write_text(f"{good}nonsense: 1\n")
    wait_until(lambda: cloud.has_printed("not loaded: worker.yaml"))
    (root / "worker.yaml").write_text(good)
    cloud.send("order_paid")
    assert cloud.post("Worker", "/admin/drain", wait="1")["delivered"] == 1


def test_ctrl_c_ends_every_process_of_it(root: Path, start: Callable[..., Cloud]) -> None:
    cloud = start("--root", str(root))
    cloud.wait_until_ready()
    assert len(cloud.members()) >= 8
    cloud.interrupt()
    assert cloud.wait() == 0
    assert cloud.members() == []
    assert "Traceback" not in cloud.output
