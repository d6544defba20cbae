from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatgpt_platform.accounts.money import dollars


@pytest.mark.parametrize(
    ("picodollars", "text"),
    [
        (0, "0.00"),
        (1, "0.000000000001"),
        (150_000, "0.00000015"),
        (10**12, "1.00"),
        (4_020_000_000_000, "4.02"),
        (4_500_000_000_000, "4.50"),
        (4_567_000_000_000, "4.567"),
        (123_456_789 * 10**12 + 10**10, "123456789.01"),
        (-1_250_000_000_000, "-1.25"),
        (-1, "-0.000000000001"),
    ],
)
def test_picodollars_as_dollars(picodollars: int, text: str) -> None:
    assert dollars(picodollars) == text


@given(st.integers())
def test_nothing_is_rounded(picodollars: int) -> None:
    text = dollars(picodollars)
    sign, digits, exponent = Decimal(text).as_tuple()
    assert isinstance(exponent, int)
    read = int("".join(map(str, digits))) * 10 ** (12 + exponent)
    assert (-read if sign else read) == picodollars
    places = text.partition(".")[2]
    assert len(places) == 2 or not places.endswith("0")
