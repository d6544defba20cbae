"""The settings as values: what differs between two configurations."""

from __future__ import annotations

from dataclasses import replace

from chatgpt_platform.settings.schema import (
    SETTINGS,
    Limits,
    Metrics,
    Secret,
    Settings,
    Upstream,
    UpstreamTimeouts,
    changes,
    changes_needing_restart,
    settings_of,
    value_at,
)

ONE = Settings(upstreams=(Upstream(name="a"),))
TWO = Settings(upstreams=(Upstream(name="a"), Upstream(name="b", api_keys=(Secret("test-key-1"),))))


def test_what_differs_is_named_by_its_path() -> None:
    assert changes(TWO, TWO) == ()
    longer = replace(TWO.upstreams[1], api_keys=(Secret("test-key-2"),), timeouts=UpstreamTimeouts(total=1.0))
    new = replace(TWO, limits=Limits(hour=1), upstreams=(TWO.upstreams[0], longer))
    assert changes(TWO, new) == ("limits.hour", "upstreams[1].api_keys", "upstreams[1].timeouts.total")
    assert changes_needing_restart(TWO, new) == ()


def test_an_upstream_that_came_or_went_is_named_as_a_whole() -> None:
    assert changes(ONE, TWO) == ("upstreams[1]",)
    assert changes(TWO, ONE) == ("upstreams[1]",)
    assert changes_needing_restart(ONE, TWO) == ()
    assert changes(Settings(), TWO) == ("upstreams[0].name", "upstreams[1]")


def test_what_needs_a_restart_is_among_them() -> None:
    new = replace(TWO, metrics=Metrics(port=9100), limits=Limits(hour=1))
    assert changes(TWO, new) == ("limits.hour", "metrics.port")
    assert changes_needing_restart(TWO, new) == ("metrics.port",)


def test_each_upstream_has_every_setting_and_only_the_first_the_short_variables() -> None:
    listed = list(settings_of(TWO))
    paths = [each.path for each in listed]
    first = [path for path in SETTINGS if path.startswith("upstreams")]
    assert [path for path in paths if path.startswith("upstreams")] == [
        *first,
        *(path.replace("[0]", "[1]") for path in first),
    ]
    assert value_at(TWO, "upstreams[1].name") == "b"
    assert {each.path: each.variables for each in listed if each.variables and "[" in each.path} == {
        "upstreams[0].base_url": ("BASE_URL",),
        "upstreams[0].api_keys": ("API_KEY",),
    }
