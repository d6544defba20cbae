"""Calls as rows: what callers have chosen is bounded."""

from __future__ import annotations

from chatgpt_platform.accounts.booking import MOST_MODELS, MOST_REFUSED, OTHER_MODELS, Models, row
from chatgpt_platform.observe.access import Record

MODEL_COLUMN = 5


def record(model: str | None, status: int = 200) -> Record:
    made = Record(0.0, "req_1", "127.0.0.1", "POST", "/v1/chat/completions", "chat")
    made.model, made.status = model, status
    return made


def test_there_are_so_many_models_in_a_day() -> None:
    models = Models()
    refused = [models.name(record(f"wrong-{number}", 404)) for number in range(500)]
    assert refused[:MOST_REFUSED] == [f"wrong-{number}" for number in range(MOST_REFUSED)]
    assert set(refused[MOST_REFUSED:]) == {OTHER_MODELS}
    answered = [models.name(record(f"right-{number}")) for number in range(MOST_MODELS)]
    assert answered.index(OTHER_MODELS) == MOST_MODELS - MOST_REFUSED, "names that nobody has leave room"
    assert models.name(record("right-0", 502)) == "right-0"
    assert models.name(record(None)) == ""
    models.clear()
    assert models.name(record("wrong-499", 404)) == "wrong-499"


def test_a_long_name_is_cut() -> None:
    models = Models()
    for end in "ab":
        assert row(record("x" * 256 + end), models, truncated=False)[MODEL_COLUMN] == "x" * 256
