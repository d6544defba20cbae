"""Allowances and prices: what is read, as what, and what is refused with which words."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatgpt_platform.settings.allowances import (
    PICODOLLARS,
    Allowance,
    Allowances,
    MoneyAllowance,
    OptionalPrice,
    Price,
    TokenAllowance,
)
from chatgpt_platform.settings.kinds import Fault, Kind, Unusable
from chatgpt_platform.settings.nodes import Scalar, Style, from_json
from chatgpt_platform.settings.yaml_nodes import from_yaml

TOKENS, MONEY = TokenAllowance(), MoneyAllowance()
DAY = 86_400


@pytest.mark.parametrize(
    ("kind", "written", "value"),
    [
        (TOKENS, "1/second", Allowance(1, "second", 1)),
        (TOKENS, "2000/minute", Allowance(2000, "minute", 60)),
        (TOKENS, "40k/hour", Allowance(40_000, "hour", 3600)),
        (TOKENS, "100000/day", Allowance(100_000, "day", 0)),
        (TOKENS, "5M/week", Allowance(5_000_000, "week", 0)),
        (TOKENS, "1000000000000000/total", Allowance(10**15, "total", 0)),
        (TOKENS, "'1/1m'", Allowance(1, "rolling", 60)),
        (TOKENS, "1/24h", Allowance(1, "rolling", DAY)),
        (TOKENS, "1/3660d", Allowance(1, "rolling", 3660 * DAY)),
        (MONEY, "5.00/month", Allowance(5 * PICODOLLARS, "month", 0)),
        (MONEY, "5/year", Allowance(5 * PICODOLLARS, "year", 0)),
        (MONEY, "0.25/30d", Allowance(PICODOLLARS // 4, "rolling", 30 * DAY)),
        (MONEY, "0.000001/total", Allowance(10**6, "total", 0)),
        (MONEY, "1000000/day", Allowance(10**18, "day", 0)),
    ],
)
def test_read(kind: Kind[Allowance], written: str, value: Allowance) -> None:
    allowance = kind.parse(from_yaml(written))
    assert allowance == value
    assert str(allowance) == written.strip("'"), "as it was written"


@pytest.mark.parametrize(
    ("kind", "written", "says"),
    [
        (
            MONEY,
            "5/fortnight",
            (
                'found "5/fortnight", expected dollars/period such as 5.00/month: a number with at most 6 places, '
                "and day, week, month, year, total or a duration of 1m to 3660d such as 24h or 30d"
            ),
        ),
        (
            TOKENS,
            "5/fortnight",
            (
                'found "5/fortnight", expected tokens/period such as 100k/day: a whole number, with k or M for '
                "thousands or millions, and second, minute, hour, day, week, month, year, total or a duration of "
                "1m to 3660d such as 24h or 30d"
            ),
        ),
        (MONEY, "5/minute", 'found "5/minute", expected dollars/period'),
        (MONEY, "0/day", 'found "0/day", expected more than 0, as 5.00/month'),
        (MONEY, "0.00/day", "expected more than 0"),
        (MONEY, "0.0000001/day", "expected at most 6 places behind the point"),
        (MONEY, "1000000.01/day", "expected at most 1000000 dollars"),
        (TOKENS, "9000000000M/day", "expected at most 1000000000000000 tokens"),
        *(
            (MONEY, text, "expected dollars/period")
            for text in ["$5/day", "5", "5/", "/day", "5/day/day", "5/Day"]
        ),
        *(
            (MONEY, text, "expected dollars/period")
            for text in ["05/day", ".5/day", "5./day", "-5/day", "5 / day"]
        ),
        *((MONEY, text, "expected dollars/period") for text in ["1e3/day", "٣/day", "5/0d", "5/59s", "5/1h30m"]),
        *((MONEY, text, "expected dollars/period") for text in ["5/٣d", "5/3661d", "5/9999999d", "5/24H", "''"]),
        *((TOKENS, text, "expected tokens/period") for text in ["0/day", "1.5k/day", "5m/day", "5K/day", "k/day"]),
        *((TOKENS, text, "expected tokens/period") for text in ["5kM/day", "5 k/day", "٣/day", "5/seconds", "~"]),
    ],
)
def test_refused(kind: Kind[Allowance], written: str, says: str) -> None:
    with pytest.raises(Unusable) as caught:
        kind.parse(from_yaml(written))
    (fault,) = caught.value.faults
    assert says in fault.text


def test_json_numbers_are_no_allowances() -> None:
    with pytest.raises(Unusable):
        Allowances(MONEY).parse(from_json("[5]"))


@pytest.mark.parametrize("second", ["2/day", "1/24h", "3/day"])
def test_two_for_one_period_are_one_too_many(second: str) -> None:
    other = "1/1d" if second == "1/24h" else "1/day"
    with pytest.raises(Unusable) as caught:
        Allowances(TOKENS).parse(from_yaml(f"- 1/hour\n- {other}\n- {second}\n"))
    (fault,) = caught.value.faults
    assert fault == (f'found "{second}" beside "{other}", expected one for each period', 3, "[2]")


def test_a_rolling_period_stands_beside_a_fixed_one() -> None:
    kind = Allowances(TOKENS)
    assert len(kind.parse(kind.node("1/day, 1/24h,1/7d,1/week, 1/hour, 1/60m"))) == 6


def test_what_means_the_same_is_no_change() -> None:
    assert MONEY.read("5.00/day") == MONEY.read("5/day")
    assert MONEY.read("5/day") != MONEY.read("5/24h")
    assert {TOKENS.read("1k/day"), TOKENS.read("1000/day")} == {Allowance(1000, "day", 0)}
    assert str(Allowance(1000, "day", 0)) == "1000/day"
    assert str(Allowance(1000, "rolling", 60)) == "1000/60s"


# --- prices


@pytest.mark.parametrize(
    ("written", "value"),
    [("0.15", 150_000), ("2.50", 2_500_000), ("10", 10_000_000), ("0", 0), ("0.000001", 1), ("1000000", 10**12)],
)
def test_a_price_is_picodollars_a_token(written: str, value: int) -> None:
    for node in (from_yaml(written), from_json(written)):
        assert Price().parse(node) == value
        assert OptionalPrice().parse(node) == value


def test_a_price_may_be_left_out_where_another_stands_in() -> None:
    assert OptionalPrice().parse(from_yaml("''")) is None
    assert OptionalPrice().yaml(None) == '""'


@pytest.mark.parametrize(
    ("kind", "written"),
    [
        *(
            (Price(), text)
            for text in ["''", "~", "'5'", "-1", "1e3", ".5", "5.", "05", "1_000", "0.0000001", "nan"]
        ),
        *((Price(), text) for text in ["1000001", "1000000.000001", "٣", "$5", "5,00", "[5]", "{a: 5}"]),
        *((OptionalPrice(), text) for text in ["~", "'5'", "x", "[]"]),
    ],
)
def test_refused_as_a_price(kind: Kind[Any], written: str) -> None:
    with pytest.raises(Unusable, match=r"^found .*expected"):
        kind.parse(from_yaml(written))


# --- round trips

WORDS = st.sampled_from(["day", "week", "month", "year", "total"])
ROLLING = st.integers(1, 3660).map("{}d".format) | st.integers(1, 9999).map("{}h".format)
DOLLARS = st.decimals("0.000001", "1000000", places=6)


@settings(deadline=None, max_examples=100)
@given(st.integers(1, 10**9), st.sampled_from(["", "k", "M"]), WORDS | ROLLING | st.just("minute"))
def test_tokens_are_written_as_they_are_read(amount: int, factor: str, period: str) -> None:
    allowance = TOKENS.read(f"{amount}{factor}/{period}")
    assert TOKENS.parse(from_yaml(f"[{TOKENS.yaml(allowance)}]").items[0]) == allowance  # type: ignore[union-attr]
    assert TOKENS.read(str(allowance)) == allowance


@settings(deadline=None, max_examples=100)
@given(DOLLARS, WORDS | ROLLING)
def test_money_is_exact(amount: Any, period: str) -> None:
    allowance = MONEY.read(f"{amount:f}/{period}")
    assert Fraction(allowance.amount, PICODOLLARS) == Fraction(amount)
    assert MONEY.read(str(allowance)) == allowance


@settings(deadline=None, max_examples=100)
@given(st.integers(0, 10**12))
def test_a_price_is_written_as_it_is_read(value: int) -> None:
    assert Price().parse(from_yaml(Price().yaml(value))) == value


@settings(deadline=None, max_examples=100)
@given(st.text() | st.from_regex(r"\A[0-9.kM]{0,6}/[a-z0-9]{0,6}\Z"))
def test_no_text_breaks_them(text: str) -> None:
    kinds: list[Kind[Any]] = [TOKENS, MONEY, Price(), OptionalPrice()]
    faults: list[Fault] = []
    for kind in kinds:
        for style in Style:
            try:
                kind.parse(Scalar(text, style))
            except Unusable as unusable:
                faults += unusable.faults
    assert all(len(fault.text.splitlines()) == 1 for fault in faults)
