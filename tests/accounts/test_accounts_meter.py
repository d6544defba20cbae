"""What a call will likely use, from those before it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from chatgpt_platform.accounts.meter import FIRST_GUESS, Meter


def test_before_the_first_call_it_guesses() -> None:
    meter = Meter(None)
    assert (meter.completion, meter.prompt(100, 25), meter.told_by(1000.0, 50)) == (FIRST_GUESS, 25, 0)


def test_the_same_question_has_as_many_tokens_as_before() -> None:
    meter = Meter(None)
    meter.learn(301, 77, 5, 0.0)
    assert meter.prompt(301, 1) == 77
    assert meter.prompt(602, 1) == 154
    assert meter.prompt(300, 1) == 77, "rounded up"
    meter.learn(400, 0, 5, 0.0)
    assert meter.prompt(301, 1) == 77, "what told no tokens teaches nothing of them"


def test_the_first_answer_replaces_the_guess_and_longer_ones_it() -> None:
    meter = Meter(None)
    meter.learn(10, 2, 30, 0.0)
    assert meter.completion == 30
    meter.learn(10, 2, 500, 0.0)
    assert meter.completion == 500


@given(st.lists(st.integers(0, 5000), min_size=1, max_size=30))
def test_it_is_never_below_the_last_answer_nor_above_the_longest(answers: list[int]) -> None:
    meter = Meter(None)
    for number, answer in enumerate(answers, 1):
        meter.learn(10, 2, answer, 0.0)
        assert answer <= meter.completion <= max(answers[:number])


def test_a_long_answer_is_forgotten_in_time() -> None:
    meter = Meter(None)
    meter.learn(10, 2, 4000, 0.0)
    for _ in range(200):
        meter.learn(10, 2, 100, 0.0)
    assert 100 <= meter.completion < 120


def test_what_nobody_waited_for_is_told_by_the_time_that_it_took() -> None:
    meter = Meter(None)
    meter.learn(10, 2, 100, 2000.0)
    meter.learn(10, 2, 900, 0.0)  # a stream tells nothing of that
    assert meter.told_by(1000.0, 80) == 50
    assert meter.told_by(60_000.0, 80) == 80


def test_an_answer_that_was_cut_tells_nothing_of_others() -> None:
    meter = Meter(None)
    for _ in range(50):
        meter.learn(10, 2, 1, 0.0, cut=True)
    assert meter.completion == FIRST_GUESS
    meter.learn(10, 2, 4000, 0.0, cut=True)
    assert meter.completion == 4000
    meter.learn(10, 2, 100, 2000.0, cut=True)
    assert meter.told_by(1000.0, 500) == 50
