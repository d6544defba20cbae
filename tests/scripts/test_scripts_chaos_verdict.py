"""scripts/chaos.py: histories made by hand; the guilty ones are found guilty, the others are not."""

import json
from collections.abc import Sequence

import pytest

import chaos_verdict
from chaos_faults import Period, Schedule, Weather
from chaos_load import End, Plan, Told
from chaos_verdict import Arrival, Verdict

JSON = Plan(0, 0.0, "openai", stream=False)
SOUND = [Period(0.0, 1000.0, Weather.SOUND)]
OUTAGE = [
    Period(0.0, 90.0, Weather.SOUND),
    Period(90.0, 200.0, Weather.OUTAGE, "refuse"),
    Period(200.0, 1000.0, Weather.SOUND),
]
HEAD = b"HTTP/1.1 %d X\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"


def answered(name: str = "call-0000000") -> bytes:
    body = json.dumps({"choices": [{"message": {"content": f"you said {name}"}}]}).encode()
    return HEAD % (200, len(body), body)


def failed(status: int = 502) -> bytes:
    body = json.dumps({"error": {"message": "sorry"}}).encode()
    return HEAD % (status, len(body), body)


def judge(
    raw: bytes,
    *faults: str,
    end: End = End.WHOLE,
    plan: Plan = JSON,
    stray: bytes = b"",
    weather: Sequence[Period] = SOUND,
    sent: float = 100.0,
) -> Verdict:
    told = Told(plan, sent, sent + 1, raw, end, stray)
    met = [Arrival(sent + number / 10, "first", fault) for number, fault in enumerate(faults)]
    return chaos_verdict.judge([told], {0: met}, [Schedule("first", weather)])


def why(verdict: Verdict) -> str:
    return "; ".join(verdict.guilty.get(0, ()))


def test_innocent_histories() -> None:
    for verdict in (
        judge(answered(), ""),
        judge(answered(), "comments"),
        judge(answered(), "503-bare", "429-soon", "key busy", ""),
        judge(failed(), "reset"),
        judge(failed(), "503-bare", "reset"),
        judge(failed(500), "500"),
        judge(failed(429), weather=OUTAGE),
        judge(b"", "", end=End.LEFT, plan=Plan(0, 0.0, "openai", stream=False, leaves=0.1)),
    ):
        assert why(verdict) == ""
        assert verdict.is_good


@pytest.mark.parametrize("first", ["", "comments", "reset", "500", "502", "504", "no-answer", "cut-mid", "408"])
def test_a_call_that_was_sent_again_after_it_may_have_been_acted_on(first: str) -> None:
    verdict = judge(answered(), first, "")
    assert "sent again after first met it" in why(verdict)
    assert not verdict.is_good


def test_a_call_of_somebody_who_left_must_not_be_sent_again_either() -> None:
    plan = Plan(0, 0.0, "openai", stream=False, leaves=0.1)
    assert "sent again" in why(judge(b"", "reset", "", end=End.LEFT, plan=plan))


@pytest.mark.parametrize(
    ("verdict", "told"),
    [
        (judge(b"", "", end=End.NEVER), "no end"),
        (judge(b"", end=End.REFUSED), "no connection"),
        (judge(b"", "", end=End.RESET), "reset"),
        (judge(answered() + b"x", ""), "Content-Length"),
        (judge(answered(), "", stray=b"HTTP/1.1 200 OK"), "belong to no answer"),
        (judge(answered("call-0000001"), ""), "somebody else's answer"),
        (judge(answered()), "the last attempt met no upstream"),
        (judge(answered(), "reset"), "the last attempt met reset"),
        (judge(failed(), ""), "answered well"),
        (judge(failed(), "503-bare", "pauses"), "answered well"),
        (judge(failed(500), "reset"), "status 500, which nothing explains"),
        (judge(failed(401), "reset"), "status 401, which nothing explains"),
        (judge(failed(404), "403"), "status 404, which nothing explains"),
    ],
)
def test_what_a_caller_must_not_get(verdict: Verdict, told: str) -> None:
    assert told in why(verdict)
    assert not verdict.is_good


def test_a_fault_of_the_gateways_on_the_platform_api() -> None:
    body = json.dumps({"code": 500, "msg": "failed", "data": {"response": "sorry"}}).encode()
    verdict = judge(HEAD % (500, len(body), body), "500", plan=Plan(0, 0.0, "platform", stream=False))
    assert "status 500, which nothing explains" in why(verdict)


def test_a_stream_that_broke_off_but_ended_whole() -> None:
    event = b'data: {"error": {"message": "x"}}\n\n'
    raw = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(event), event)
    plan = Plan(0, 0.0, "openai", stream=True)
    assert "then a final chunk" in why(judge(raw, "cut-mid", plan=plan))
    assert why(judge(raw, "error-later", plan=plan)) == "", "the upstream itself sent it"


def test_what_had_to_succeed() -> None:
    verdict = judge(failed(503), "503-bare")
    assert (verdict.demanded, verdict.failed, verdict.share) == (1, [0], 0.0)
    assert not verdict.is_good
    assert judge(failed(502)).demanded == 1, "only connecting failed"
    assert judge(failed(503), "key broke").demanded == 1
    for excused in (
        judge(failed(), "reset"),
        judge(failed(429), "busy-first"),
        judge(failed(503), weather=OUTAGE),
        judge(failed(503), weather=OUTAGE, sent=300.0),  # what the outage left behind
        judge(failed(502), weather=OUTAGE, sent=89.5),  # under way when it began
    ):
        assert (excused.demanded, excused.is_good) == (0, True)
    assert judge(failed(503), weather=OUTAGE, sent=500.0).demanded == 1
    assert judge(failed(503), weather=OUTAGE, sent=50.0).demanded == 1


def test_one_failure_in_a_thousand_is_borne() -> None:
    told = [Told(Plan(0, 0.0, "openai", stream=False), 1.0, 2.0, answered(), End.WHOLE) for _ in range(999)]
    lost = Told(Plan(1, 0.0, "openai", stream=False), 1.0, 2.0, failed(), End.WHOLE)
    arrivals = {0: [Arrival(1.5, "first", "")]}
    weather = [Schedule("first", SOUND)]
    assert chaos_verdict.judge([*told, lost], arrivals, weather).is_good
    assert not chaos_verdict.judge([*told[1:], lost], arrivals, weather).is_good
