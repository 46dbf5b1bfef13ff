"""A real browser on the page of a real worker: the local cloud, one of each a module.

Without a browser these tests are skipped, but fail where CI is set. CHROMIUM names one that is not on the PATH.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from tests.e2e.conftest import Cloud

ARTIFACTS = Path(__file__).parents[2] / "artifacts"
WAIT_MILLISECONDS = 20_000
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
# A machine that is busy with other tests takes longer than the five seconds that playwright waits.
expect.set_options(timeout=WAIT_MILLISECONDS)
NAMES = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    found = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        if os.environ.get("CI"):
            pytest.fail("there is no browser: install Debian's chromium or set CHROMIUM")
        pytest.skip("there is no browser: install Debian's chromium or set CHROMIUM")
    # Not for the whole session: an event loop runs in this thread as long as playwright does, and others need theirs.
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def module_cloud(browser: Browser) -> Iterator[Cloud]:
    cloud = Cloud("--receivers", "tests.browser.receivers:receivers", "--cron-every", "3600")
    try:
        cloud.wait_until_ready()
        yield cloud
    finally:
        cloud.kill()


@pytest.fixture
def cloud(module_cloud: Cloud) -> Cloud:
    """The module's cloud, with nothing in memcache."""
    module_cloud.flush()
    return module_cloud


class Visit:
    """A person at the page, who notices whatever the browser complains about."""

    def __init__(self, context: BrowserContext, cloud: Cloud) -> None:
        context.set_default_timeout(WAIT_MILLISECONDS)
        self.page: Page = context.new_page()
        self.cloud = cloud
        self.complaints: list[str] = []
        # A refusal of the server is told on the console as well; the tests ask for those by themselves.
        self.page.on("console", lambda told: self._note(told.text) if told.type in ("error", "warning") else None)
        self.page.on("pageerror", lambda error: self._note(str(error)))

    def open(self, path: str = "/admin/") -> Page:
        self.page.goto(f"http://127.0.0.1:{self.cloud.port('Worker')}{path}")
        return self.page

    def keep(self, name: str) -> None:
        """Keep a screenshot for whoever looks at the run."""
        ARTIFACTS.mkdir(exist_ok=True)
        self.page.screenshot(path=ARTIFACTS / f"{name}.png", full_page=True)

    def _note(self, text: str) -> None:
        if not text.startswith("Failed to load resource"):
            self.complaints.append(text)


StartVisit = Callable[..., Visit]


@pytest.fixture
def start_visit(browser: Browser, cloud: Cloud) -> Iterator[StartVisit]:
    """Start a visit in a context of its own; the options are those of playwright's `new_context`."""
    visits: list[tuple[BrowserContext, Visit]] = []

    def start(*, width: int = 1280, **options: object) -> Visit:
        context = browser.new_context(viewport={"width": width, "height": 844}, **options)  # type: ignore[arg-type]
        visits.append((context, Visit(context, cloud)))
        return visits[-1][1]

    yield start
    for context, visit in visits:
        context.close()
        assert visit.complaints == []


@pytest.fixture
def visit(start_visit: StartVisit) -> Visit:
    return start_visit()
