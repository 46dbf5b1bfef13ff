"""Where a worker is."""

from __future__ import annotations

import pytest

from gaesignals.cli.address import LOCAL_WORKER, Address
from gaesignals.cli.errors import UsageError


@pytest.mark.parametrize(
    ("text", "url"),
    [
        (LOCAL_WORKER, "http://localhost:8081"),
        ("http://localhost:8081/", "http://localhost:8081"),
        ("http://localhost:8081/admin/", "http://localhost:8081"),
        (" https://worker-dot-shop.uc.r.appspot.com/admin ", "https://worker-dot-shop.uc.r.appspot.com"),
        ("https://example.com/behind/a/proxy/", "https://example.com/behind/a/proxy"),
        ("http://[::1]:8081/", "http://[::1]:8081"),
        # A header takes Latin-1 at most.
        ("https://пример.example.com:8443/admin", "https://xn--e1afmkfd.example.com:8443"),
    ],
)
def test_is_read_as_it_stands_in_a_browser(text: str, url: str) -> None:
    assert Address.parse(text).url == url


@pytest.mark.parametrize(
    ("text", "is_loopback", "is_private"),
    [
        ("http://localhost:1", True, True),
        ("http://127.0.0.1", True, True),
        ("http://127.8.8.8", True, True),
        ("http://[::1]:8081", True, True),
        ("https://example.com", False, True),
        ("http://example.com", False, False),
        ("http://localhost.example.com", False, False),
        ("http://127.0.0.1.example.com", False, False),
        ("http://10.0.0.1", False, False),
    ],
)
def test_knows_what_can_be_overheard(text: str, is_loopback: bool, is_private: bool) -> None:
    address = Address.parse(text)
    assert (address.is_loopback, address.is_private) == (is_loopback, is_private)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "localhost:8081",
        "ftp://localhost",
        "file:///etc/passwd",
        "https://",
        "https://user:secret@example.com",
        "https://example.com?x=1",
        "https://example.com#x",
        "https://example.com:port",
        "https://[::1",
        "https://example.com/\x1b[31m",
        "https://example.com/caf\u00e9",
        "https://a..b",
        f"https://{'a' * 64}.example.com",
    ],
)
def test_anything_else_is_a_usage_error(text: str) -> None:
    with pytest.raises(UsageError) as raised:
        Address.parse(text)
    assert "secret" not in str(raised.value)
