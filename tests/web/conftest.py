"""For the tests of the gateway: each one that starts a gateway does so on every way that there is.

A test need not know: ``support.gateway.gateway()`` takes the way that is chosen here. A module that is about
other ways than ``support.ways.WAYS`` says which as its own ``WAYS``; its tests with the mark ``every_way`` run on
all the same.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support import fleet, gateway, ways
from support.ways import WAYS, Way

ONLY_ON_THE_WIRE = {
    "test_a_refused_call_keeps_the_connection": (
        "Tornado closes behind an answer that was finished before it looked for a body, even where none follows"
    ),
}
"""Tests that Tornado's stock server cannot pass, and why."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    module = metafunc.module
    if getattr(module, "gateway", None) is gateway.gateway or getattr(module, "fleet", None) is fleet.fleet:
        everywhere = metafunc.definition.get_closest_marker("every_way") is not None
        own: list[Way] = WAYS if everywhere else getattr(module, "WAYS", WAYS)
        metafunc.parametrize("way", own, ids=lambda way: way.name, indirect=True)


@pytest.fixture(autouse=True)
def way(request: pytest.FixtureRequest) -> Iterator[Way | None]:
    """The way on which this test's gateways are reached; None where it starts none.

    It is set by itself, so that it is there before the fixtures that start a gateway.
    """
    given: Way | None = getattr(request, "param", None)
    if given is None:
        yield None
        return
    name = request.function.__name__
    if given.is_stock and name in ONLY_ON_THE_WIRE:
        pytest.skip(ONLY_ON_THE_WIRE[name])
    token = ways.chosen.set(given)
    yield given
    ways.chosen.reset(token)
