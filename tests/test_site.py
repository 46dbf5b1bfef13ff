"""The site: every page is in it, links lead somewhere, on it and on GitHub, and code blocks are what they say."""

from __future__ import annotations

import json
import re
import subprocess
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator
from html import unescape
from pathlib import Path
from typing import Any

import pytest
import yaml

import gaesignals

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.glob("*.md")])
BLOCK = re.compile(r"^( *)```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
HEADING = re.compile(r"^#{1,6} (.+)$", re.MULTILINE)
LINK = re.compile(r"\]\((?!https?:)([^)#\s]*)(?:#([^)\s]+))?\)")
CONFIG = yaml.safe_load((ROOT / "mkdocs.yml").read_text())
# Tests of their own run or read the others.
KINDS = {"python", "sh", "console", "yaml", "json", "ini", "toml", ""}


def ids(page: Path) -> str:
    return page.name


def text_of(page: Path) -> str:
    """A page without its code blocks, in which `#` is a comment and brackets are Python's."""
    return BLOCK.sub("", page.read_text())


def on_the_site(heading: str) -> str:
    """The anchor that Python-Markdown makes."""
    plain = unicodedata.normalize("NFKD", heading).encode("ascii", "ignore").decode()
    return re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", plain).strip().lower())


def on_github(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def anchors(page: Path, slug: Callable[[str], str]) -> Iterator[str]:
    """Those of a page's headings; a repeated one has a number, which nothing here links to."""
    yield from (slug(unescape(heading.replace("`", ""))) for heading in HEADING.findall(text_of(page)))


def pages_of(nav: Any) -> Iterator[str]:
    for entry in nav:
        for value in entry.values():
            yield from [value] if isinstance(value, str) else pages_of(value)


@pytest.mark.parametrize("page", PAGES, ids=ids)
@pytest.mark.parametrize("slug", [on_the_site, on_github])
def test_an_anchor_that_a_page_links_to_is_there(page: Path, slug: Callable[[str], str]) -> None:
    for target, anchor in LINK.findall(text_of(page)):
        other = page.parent / target if target else page
        if anchor and other.suffix == ".md":
            assert anchor in list(anchors(other, slug)), f"{target}#{anchor}"


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_a_page_of_the_site_links_to_pages_of_the_site_alone(page: Path) -> None:
    if page.parent == DOCS:
        assert all((DOCS / target).resolve().parent == DOCS for target, _ in LINK.findall(text_of(page)) if target)


def test_every_page_is_in_its_navigation_once() -> None:
    assert Counter(pages_of(CONFIG["nav"])) == Counter(page.name for page in DOCS.glob("*.md"))


def test_what_does_not_exist_or_cannot_be_found_fails_its_build() -> None:
    assert set(CONFIG["validation"].values()) == {"warn"}
    assert "mkdocs build --strict" in (ROOT / "Makefile").read_text()


def test_the_reference_has_every_public_name() -> None:
    found = re.findall(r"^::: gaesignals\.(\w+)$", (DOCS / "reference.md").read_text(), re.MULTILINE)
    assert sorted(found) == sorted(gaesignals.__all__)


def test_the_picture_on_its_first_page_has_words_and_the_colours_of_the_page() -> None:
    (picture,) = re.findall(r"<svg .*?</svg>", (DOCS / "index.md").read_text(), re.DOTALL)
    assert "<title" in picture
    assert "<desc" in picture
    # White is on the circles, which are dark whatever the page is.
    assert set(re.findall(r'(?:fill|stroke)="([^"]+)"', picture)) == {"none", "currentColor", "#00796b", "#ffffff"}
    numbers = re.findall(r">(\d)</text>", picture)
    assert numbers == re.findall(r"^(\d)\. \*\*", (DOCS / "index.md").read_text(), re.MULTILINE)


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_a_code_block_says_what_it_is_and_is_that(page: Path) -> None:
    for indent, kind, block in BLOCK.findall(page.read_text()):
        code = re.sub(f"^{indent}", "", block, flags=re.MULTILINE)
        assert kind in KINDS, kind
        if kind == "yaml":
            assert yaml.safe_load(code) is not None
        elif kind == "json":
            json.loads(code)
        elif kind == "sh":
            done = subprocess.run(["bash", "-n"], input=code, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
