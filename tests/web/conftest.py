"""For the tests of the gateway: each one that starts a gateway does so on every way that there is.

A test need not know: ``support.gateway.gateway()`` takes the way that is chosen here. A module that is about
other ways than ``support.ways.WAYS`` says which as its own ``WAYS``.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support import gateway, ways
from support.ways import WAYS, Way

ONLY_ON_THE_WIRE = {
    "test_a_refused_call_keeps_the_connection": (
        "Tornado closes behind an answer that was finished before it looked for a body, even where none follows"
    ),
}
"""Tests that Tornado's stock server cannot pass, and why."""

MISSING = {
    "test_pages_of_named_origins_may_call": (
        ("handlers", "stock"),
        "HandlerOutlet.answer writes an empty body under 204, which Tornado refuses",
    ),
    "test_a_body_that_cannot_be_read_is_one_line_in_the_access_log": (
        ("handlers",),
        "_Bridge.failed has the request refused and then tells its handler that the client left: two lines",
    ),
    "test_a_stream_that_breaks_off_does_not_look_whole": (
        ("handlers",),
        "HandlerOutlet.abort detaches, which the bridge cannot do under TLS: the client waits for ever",
    ),
}
"""Tests that fail on the ways through these servers because of a fault of ours that is yet to be mended."""

SOMETIMES_MISSING = {
    "test_odd_but_whole_streams_arrive_whole": (
        ("handlers",),
        "HandlerOutlet.write makes the end of a stream late: a client that closes behind [DONE] is logged as 499",
    ),
}
"""The same, but it depends on who is quicker."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if getattr(metafunc.module, "gateway", None) is gateway.gateway:
        own: list[Way] = getattr(metafunc.module, "WAYS", WAYS)
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
    for known, strict in ((MISSING, True), (SOMETIMES_MISSING, False)):
        servers, fault = known.get(name, ((), ""))
        if given.name.partition("-")[0] in servers:
            request.applymarker(pytest.mark.xfail(reason=fault, strict=strict))
    token = ways.chosen.set(given)
    yield given
    ways.chosen.reset(token)
