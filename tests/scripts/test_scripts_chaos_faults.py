"""scripts/chaos.py: the weather and the calls that are planned."""

from random import Random

import pytest

import chaos_faults
import chaos_load
from chaos_faults import Period, Schedule, Weather
from chatgpt_platform.simulator.behaviour import Behaviour
from chatgpt_platform.simulator.faults import FAULTS


@pytest.mark.parametrize("tls", [False, True])
def test_a_schedule_has_no_gap_and_is_the_same_for_a_seed(tls: bool) -> None:
    plan = chaos_faults.schedule("x", 60.0, Random(7), tls=tls)
    assert plan == chaos_faults.schedule("x", 60.0, Random(7), tls=tls)
    assert [period.end for period in plan.periods[:-1]] == [period.begin for period in plan.periods[1:]]
    assert plan.periods[0].begin == 0
    assert plan.periods[0].weather is plan.periods[-1].weather is Weather.SOUND
    assert {period.weather for seed in range(20) for period in at_random(seed, tls).periods} == set(Weather)
    outages = {period.fail for seed in range(20) for period in at_random(seed, tls).periods} & {
        "tls-wrong",
        "tls-stall",
    }
    assert bool(outages) == tls


def at_random(seed: int, tls: bool) -> Schedule:
    return chaos_faults.schedule("x", 60.0, Random(seed), tls=tls)


def test_each_fault_is_known_to_the_simulator_and_in_one_class() -> None:
    safe = chaos_faults.MAY_GO_ON - chaos_faults.KEY_FAULTS
    classes = [safe, set(chaos_faults.UNSAFE), set(chaos_faults.VALID)]
    assert set().union(*classes) <= set(FAULTS)
    assert sum(map(len, classes)) == len(set().union(*classes))
    assert all(FAULTS[kind].help.startswith("valid") for kind in chaos_faults.VALID if kind not in ODD)
    for seed in range(20):
        for period in at_random(seed, True).periods:
            Behaviour(fail=period.fail, share=period.share)


ODD = {"no-usage", "no-stream-usage", "silence-after-done"}  # not quite valid, but whole


def test_changes_come_in_their_order() -> None:
    schedules = [at_random(seed, False) for seed in range(3)]
    changes = chaos_faults.changes(schedules)
    assert [at for at, _, _ in changes] == sorted(at for at, _, _ in changes)
    assert len(changes) == sum(len(each.periods) for each in schedules)


def test_a_bad_time_has_an_aftermath() -> None:
    weather = [
        Period(0.0, 10.0, Weather.SLOW),
        Period(10.0, 12.0, Weather.OUTAGE, "refuse"),
        Period(12.0, 13.0, Weather.FLAKY_SAFE, "503-bare"),
        Period(13.0, 99.0, Weather.ODD),
    ]
    plan = Schedule("x", weather)
    assert plan.is_healthy(0.0, 9.0)
    assert not plan.is_healthy(0.0, 10.0)
    assert not plan.is_healthy(11.0, 11.5)
    assert not plan.is_healthy(19.9, 20.0), "three bad seconds, then twice as long, and a second of rest"
    assert plan.is_healthy(20.1, 30.0)
    assert plan.is_fair(13.5, 14.0)
    assert not plan.is_fair(12.9, 14.0)
    assert plan.cut_between(9.0, 10.5)
    assert not plan.cut_between(10.5, 11.0)
    assert not plan.cut_between(11.9, 12.1), "the second bad period cuts nothing"


def test_calls_are_planned_of_every_kind_at_the_rate_that_was_asked_for() -> None:
    planned = chaos_load.plans(10.0, 200.0, Random(7))
    assert planned == chaos_load.plans(10.0, 200.0, Random(7))
    assert 1700 < len(planned) < 2300
    assert [plan.number for plan in planned] == list(range(len(planned)))
    assert {(plan.api, plan.stream, plan.keeps, plan.leaves is None) for plan in planned} >= {
        (api, stream, keeps, True)
        for api in ("platform", "openai")
        for stream in (False, True)
        for keeps in (False, True)
    }
    assert {plan.how for plan in planned if plan.leaves is not None} == {"close", "half-close", "reset"}
    assert any(plan.slow for plan in planned)


def test_a_request_names_its_call() -> None:
    plan = chaos_load.Plan(42, 0.0, "openai", stream=True, keeps=True)
    head, _, body = chaos_load.request(plan).partition(b"\r\n\r\n")
    assert b"call-0000042" in body
    assert chaos_load.content_length(head) == len(body)
    assert b"Connection: keep-alive" in head
    assert chaos_load.content_length(b"HTTP/1.1 200 OK\r\nX: y") is None
