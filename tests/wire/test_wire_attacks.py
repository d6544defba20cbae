"""Attacks on the whole gateway through raw sockets: each is refused once, and nobody else feels it.

For each: one answer in the right shape and a close, nothing for the upstream, one access line and no other
line, and a client beside it that is served meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support import attacks
from support.attacked import Target, assert_refused, bytewise
from support.attacks import FIRST_LINES, RAW, Attack


@pytest.fixture
def target(module_target: Target) -> Iterator[Target]:
    """The upstream must have seen nothing, and nothing loud may have been said."""
    before = module_target.upstream
    module_target.forget()
    yield module_target
    module_target.serves_others()
    assert module_target.upstream == before
    assert module_target.running.loud() == []


TABLES = {**attacks.FRAMING, **attacks.CHUNKS, **attacks.LINES, **attacks.HOSTS, **attacks.SIZES}


@pytest.mark.parametrize("whole", [True, False], ids=["at once", "bytewise"])
@pytest.mark.parametrize("api", FIRST_LINES)
@pytest.mark.parametrize("attack", TABLES.values(), ids=[name[:60] for name in TABLES])
def test_requests_that_are_none(target: Target, attack: Attack, api: str, whole: bool) -> None:
    data = attack.data(FIRST_LINES[api])
    assert_refused(target, [data] if whole else bytewise(data), attack.status, api)


@pytest.mark.parametrize("whole", [True, False], ids=["at once", "bytewise"])
@pytest.mark.parametrize("data", RAW.values(), ids=RAW)
def test_what_does_not_even_begin_as_a_request(target: Target, data: bytes, whole: bool) -> None:
    assert_refused(target, [data] if whole else bytewise(data), 400, "platform")
