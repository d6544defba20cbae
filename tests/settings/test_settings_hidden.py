from __future__ import annotations

from chatgpt_platform.settings.hidden import secrets_of
from chatgpt_platform.settings.schema import Settings, Upstream
from chatgpt_platform.settings.secret import Secret


def test_keys_headers_and_proxies_are_hidden() -> None:
    upstream = Upstream(
        api_keys=(Secret("key-one"), Secret("key-two")),
        headers={"X-Team-Token": Secret("token-of-the-team"), "X-Region": Secret("eu")},
        proxy=Secret("socks5://user:pass%40word@proxy.example:1080"),
    )
    assert list(secrets_of(Settings(upstreams=(upstream, Upstream())))) == [
        "key-one", "key-two", "token-of-the-team", "socks5://user:pass%40word@proxy.example:1080", "pass@word",
    ]  # fmt: skip
