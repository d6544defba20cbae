from __future__ import annotations

import re
import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatgpt_platform.accounts import prices
from chatgpt_platform.accounts.prices import REMEMBERED, Price, PriceTable, price_table, shipped_prices
from chatgpt_platform.settings.load import load
from chatgpt_platform.settings.sharing import Price as Rule

DAY = date(2026, 11, 26)
FILE = Path(prices.__file__).with_name("prices.yaml")
SHIPPED = shipped_prices()

amounts = st.integers(0, 10**9)


def rule(model: str, figure: int, since: str = "") -> Rule:
    return Rule(model=model, input=figure, cached_input=None, output=figure, since=since)


def found(table: PriceTable, model: str, day: date = DAY) -> int | None:
    price = table.find(model, day)
    return None if price is None else price.input


# --- what a call costs


def test_the_cost_of_a_call_is_exact() -> None:
    mini = price_table(()).find("gpt-4o-mini", DAY)
    assert mini == Price(150_000, 75_000, 600_000)
    assert mini.cost(1000, 400, 20) == 600 * 150_000 + 400 * 75_000 + 20 * 600_000
    assert mini.cost(1_000_000, 0, 0) == 150_000_000_000  # 0.15 dollars


@given(amounts, amounts, amounts, st.integers(), st.integers(), st.integers())
def test_no_call_costs_less_than_nothing_or_more_than_uncached(
    prompt: int, completion: int, cached: int, low: int, high: int, output: int
) -> None:
    low, high = sorted((abs(low), abs(high)))
    output = abs(output)
    cost = Price(high, low, output).cost(prompt, cached, completion)
    assert prompt * low + completion * output <= cost <= prompt * high + completion * output


def test_more_cached_tokens_than_tokens_are_no_more_than_all() -> None:
    price = Price(10, 1, 100)
    assert price.cost(5, 9, 0) == 5
    assert price.cost(5, -1, 0) == 50


# --- which rule holds


def test_a_rule_without_a_cached_price_has_one_price_for_all_of_a_prompt() -> None:
    assert PriceTable([rule("a", 7)], ()).find("a", DAY) == Price(7, 7, 7)


def test_the_owners_rules_lie_over_the_shipped_ones() -> None:
    assert found(PriceTable([rule("gpt-*", 1)], [rule("gpt-4o", 2), rule("o1", 3)]), "gpt-4o") == 1
    assert found(PriceTable([rule("gpt-*", 1)], [rule("gpt-4o", 2), rule("o1", 3)]), "o1") == 3


@pytest.mark.parametrize("turned", [False, True])
def test_the_most_specific_rule_holds_wherever_it_stands(turned: bool) -> None:
    rules = [rule("*", 1), rule("gpt-*", 2), rule("gpt-4o*", 3), rule("gpt-4o-20??-??-??", 4), rule("gpt-4o", 5)]
    table = PriceTable(reversed(rules) if turned else rules, ())
    models = ("o1", "gpt-5", "gpt-4o-mini", "gpt-4o-2024-08-06", "gpt-4o")
    assert [found(table, model) for model in models] == [1, 2, 3, 4, 5]


def test_of_equal_rules_the_last_that_has_begun_holds() -> None:
    rules = [rule("a", 3, "2026-12-01"), rule("a", 1), rule("a", 2, "2026-11-26")]
    table = PriceTable(rules, ())
    days = (date(2026, 11, 25), DAY, date(2026, 11, 30), date(2026, 12, 1), date(2027, 1, 1))
    assert [found(table, "a", day) for day in days] == [1, 2, 2, 3, 3]


def test_a_rule_that_has_not_begun_hides_no_other() -> None:
    table = PriceTable([rule("gpt-4o", 1, "2027-01-01")], [rule("gpt-4o", 2)])
    assert [found(table, "gpt-4o", day) for day in (DAY, date(2027, 1, 1), DAY)] == [2, 1, 2]


def test_an_unknown_model_has_no_price() -> None:
    table = PriceTable([rule("a", 1)], ())
    for model in ("b", "A", "aa", "", "a\n", "a" * 10_000_000):
        assert table.find(model, DAY) is None


def test_callers_cannot_fill_the_memory_with_names() -> None:
    table = PriceTable([rule("m*", 1)], ())
    for number in range(REMEMBERED * 2 + 10):
        assert found(table, f"m{number}") == 1
    table.find("m" * 1000, DAY)
    assert len(table._found) <= REMEMBERED
    assert all(len(name) <= 256 for name in table._found)


# --- the shipped table


def test_the_shipped_table_has_one_row_for_a_pattern_and_day() -> None:
    rows = [(each.model, each.since) for each in SHIPPED]
    assert len(rows) == len(set(rows)) > 150
    assert all(each.cached_input is None or each.cached_input <= each.input for each in SHIPPED)


def test_each_group_names_its_source_and_day() -> None:
    groups = re.split(r"\n\n", FILE.read_text("utf-8"))
    assert len(groups) > 10
    for group in groups:
        assert "https://" in group
        assert "Left out" in group or "Looked up 2026-" in group.replace("\n  # ", " ")


def test_the_file_is_a_configuration_whose_rows_an_owner_can_copy(tmp_path: Path) -> None:
    assert load({}, config=str(FILE), directory=tmp_path).settings.prices == SHIPPED


@pytest.mark.parametrize(
    ("models", "price"),
    [
        ("gpt-4o gpt-4o-2024-08-06 gpt-4o-2024-11-20", "2.50 1.25 10"),
        ("gpt-4o-2024-05-13", "5 5 15"),
        ("gpt-4o-mini gpt-4o-mini-2024-07-18", "0.15 0.075 0.60"),
        ("gpt-5 gpt-5-2025-08-07 gpt-5-codex", "1.25 0.125 10"),
        ("gpt-5-mini gpt-5-mini-2025-08-07", "0.25 0.025 2"),
        ("gpt-5.4-nano-2026-03-17", "0.20 0.02 1.25"),
        ("gpt-5.6 gpt-5.6-sol", "4 0.40 20"),
        ("o3 o3-2025-04-16", "2 0.50 8"),
        ("o3-mini o3-mini-2025-01-31", "1.10 0.55 4.40"),
        ("text-embedding-3-small", "0.02 0.02 0"),
        ("omni-moderation-latest omni-moderation-2024-09-26 text-moderation-stable", "0 0 0"),
        ("claude-sonnet-4-5 claude-sonnet-4-5-20250929", "3 0.30 15"),
        ("grok-4.20-multi-agent-0309", "1.25 0.20 2.50"),
    ],
)
def test_what_is_shipped(models: str, price: str) -> None:
    table = PriceTable((), SHIPPED)
    picodollars = [round(float(figure) * 1_000_000) for figure in price.split()]
    for model in models.split():
        assert table.find(model, DAY) == Price(*picodollars)


@pytest.mark.parametrize(
    "model",
    [
        "gpt-4o-audio-preview",
        "gpt-4o-realtime-preview",
        "gpt-4o-mini-tts",
        "gpt-4o-transcribe",
        "gpt-4o-mini-realtime-preview",
        "gpt-audio",
        "gpt-realtime",
        "gpt-image-1",
        "gpt-5-image",
        "o3-large",
        "gpt-4.5-preview",
        "ft:gpt-4o-2024-08-06:a::b",
        "gpt-oss-120b",
        "deepseek-chat",
    ],
)
def test_what_is_not_shipped(model: str) -> None:
    assert PriceTable((), SHIPPED).find(model, DAY) is None


def test_announced_prices_begin_on_their_day() -> None:
    table = PriceTable((), SHIPPED)
    assert [found(table, "gemini-4-argon", day) for day in (DAY, date(2026, 12, 1))] == [2_000_000, 4_000_000]


def test_a_damaged_file_is_named_with_its_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "accounts").mkdir()
    (tmp_path / "accounts" / "prices.yaml").write_text("prices:\n  - {model: a, input: much, output: 1}\n")
    monkeypatch.setattr("importlib.resources.files", lambda _: tmp_path)
    with pytest.raises(ValueError, match=r"^accounts/prices\.yaml:2: prices\[0\]\.input: found .*; install"):
        shipped_prices.__wrapped__()


def test_the_file_is_not_read_where_nobody_asks_for_prices() -> None:
    code = "import sys, chatgpt_platform.accounts.prices; sys.exit('yaml' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
