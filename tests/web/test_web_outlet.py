"""The way to the client through a handler."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest

from chatgpt_platform.web.base import Handler, HandlerOutlet
from chatgpt_platform.web.transaction import Outlet


class Swift:
    """What the outlet needs of a handler whose client takes everything at once."""

    def write(self, data: bytes) -> None:
        pass

    def flush(self) -> asyncio.Future[None]:
        future = asyncio.get_running_loop().create_future()
        future.set_result(None)
        return future


@pytest.mark.gen_test
async def test_what_is_taken_at_once_is_not_waited_for() -> None:
    """Else a stream's end goes out a turn behind its last piece, at which a client may have closed already."""
    outlet: Outlet = HandlerOutlet(cast("Handler", Swift()), closing=False)
    assert outlet.write(b"piece") is None
