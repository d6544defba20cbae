"""Calls as rows of the ledger."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from chatgpt_platform.accounts import booking
from chatgpt_platform.accounts.booking import MOST_MODELS, MOST_REFUSED, OTHER_MODELS, Models
from chatgpt_platform.ledger import rows
from chatgpt_platform.observe.access import Record


def record() -> Record:
    made = Record(7.5, "req_1", "192.0.2.77", "POST", "/chatgpt")
    made.key, made.endpoint, made.model, made.upstream, made.status = "alice", "chatgpt", "m", "openai", 200
    made.prompt_tokens, made.cached_tokens, made.completion_tokens, made.cost = 10, 4, 5, 99
    made.priced, made.duration_ms, made.first_byte_ms, made.stream = True, 1.5, 0.5, True
    made.outcome, made.usage = "complete", "reported"
    return made


def test_a_row_has_the_ledger_s_columns() -> None:
    row = booking.row(record(), Models(), truncated=False)
    assert row == (
        7.5, "req_1", "alice", "192.0.2.77", "chatgpt", "m", "openai", 200, 10, 4, 5, 99, True, 1.5, 0.5, True,
        "complete", "reported",
    )  # fmt: skip
    assert len(row) == len(rows.COLUMNS)
    assert (booking.id_of(row), booking.key_of(row), booking.used_by(row)) == ("req_1", "alice", (15, 99))


def test_what_is_not_known_is_nothing() -> None:
    row = booking.row(Record(7.5, "req_1", "::1", "POST", "/x"), Models(), truncated=True)
    assert row[2:12] == ("", "::/48", "", "", "", 0, 0, 0, 0, 0)
    assert booking.used_by(row) == (0, 0)


def test_a_name_of_any_length_is_cut() -> None:
    made = record()
    made.model = "m" * 100_000
    assert booking.row(made, Models(), truncated=False)[5] == "m" * 256


def test_callers_cannot_make_up_models_without_end() -> None:
    def name(model: str, status: int = 200) -> str:
        made = record()
        made.model, made.status = model, status
        return models.name(made)

    models = Models()
    refused = [name(f"wrong-{number}", 404) for number in range(500)]
    assert refused[:MOST_REFUSED] == [f"wrong-{number}" for number in range(MOST_REFUSED)]
    assert set(refused[MOST_REFUSED:]) == {OTHER_MODELS}
    answered = [name(f"right-{number}") for number in range(MOST_MODELS)]
    assert answered.index(OTHER_MODELS) == MOST_MODELS - MOST_REFUSED, "names that nobody has leave room"
    assert name("right-0", 502) == "right-0"
    assert name("", 401) == ""
    models.clear()
    assert name("wrong-499", 404) == "wrong-499"


@pytest.mark.parametrize(
    ("client", "kept"),
    [
        ("192.0.2.77", "192.0.2.0/24"),
        ("2001:db8:1:2::7", "2001:db8:1::/48"),
        ("", ""),
        ("unix:", "unix:"),
    ],
)
def test_of_an_address_only_the_network_is_kept(client: str, kept: str) -> None:
    assert booking.truncate(client) == kept


@pytest.mark.parametrize("change", [lambda row: (), lambda row: row[:12], lambda row: (*row[:8], "x", *row[9:])])
def test_only_a_whole_row_is_read_back(change: Callable[[booking.Row], tuple[object, ...]]) -> None:
    row = booking.row(record(), Models(), truncated=False)
    decoder = msgspec.json.Decoder(list[booking.Row])
    assert decoder.decode(msgspec.json.encode([row])) == [row]
    with pytest.raises(msgspec.ValidationError):
        decoder.decode(msgspec.json.encode([change(row)]))
