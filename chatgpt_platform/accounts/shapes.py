"""What stands in the JSON that tells of accounts: each member once, with its schema and its meaning. Pure.

The answers are made in this order of members, and the OpenAPI document says what is said here.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final, NamedTuple


class Member(NamedTuple):
    """``schema``: in JSON Schema."""

    schema: Mapping[str, Any]
    help: str


_COUNT: Final = MappingProxyType({"type": "integer", "minimum": 0})
_TEXT: Final = MappingProxyType({"type": "string"})
_TEXTS: Final = MappingProxyType({"type": "array", "items": {"type": "string"}})
_MONEY: Final = MappingProxyType({"type": "string", "pattern": r"^[0-9]+\.[0-9]{2,12}$"})
_TIME: Final = MappingProxyType({"type": "string", "format": "date-time"})
_MAYBE_TIME: Final = MappingProxyType({"type": ["string", "null"], "format": "date-time"})
_AMOUNT: Final = MappingProxyType({"type": "string", "pattern": r"^-?[0-9]+(\.[0-9]{2,12})?$"})

FIGURES: Final[Mapping[str, Member]] = MappingProxyType({
    "calls": Member(_COUNT, "Calls that have ended, those that were denied included."),
    "complete": Member(_COUNT, "Those that were answered to the end."),
    "client_left": Member(_COUNT, "Those whose caller left before the end."),
    "upstream_failed": Member(_COUNT, "Those that the upstream failed."),
    "denied": Member(_COUNT, "Those that were refused here: a limit, a budget, a key, or what was asked."),
    "cut": Member(_COUNT, "Those that the gateway ended: it stopped, the key was revoked, a fault of its own."),
    "prompt_tokens": Member(_COUNT, "Tokens of what was asked, the cached ones included."),
    "cached_tokens": Member(_COUNT, "Those of them that the upstream had in its cache."),
    "completion_tokens": Member(_COUNT, "Tokens of the answers."),
    "cost": Member(_MONEY, "Dollars, exactly, as text."),
    "unpriced_calls": Member(_COUNT, "Calls whose model has no price: they are not in the cost."),
    "estimated_calls": Member(_COUNT, "Calls whose tokens are estimated, since the upstream did not tell them."),
})  # fmt: skip
"""Of a row of a report, behind its name, and of the total."""

REPORT: Final[Mapping[str, Member]] = MappingProxyType({
    "object": Member(MappingProxyType({"const": "usage"}), "What this is."),
    "since": Member(_TIME, "The beginning, which is that of an hour."),
    "until": Member(_TIME, "The end, which no longer belongs to it; the beginning of an hour too."),
    "time_zone": Member(_TEXT, "That of days and hours: budgets.time_zone."),
    "by": Member(_TEXT, "What the rows are gathered by, and the name of their first member."),
    "filters": Member(
        MappingProxyType({"type": "object", "additionalProperties": {"type": "string"}}),
        "What the calls were limited to.",
    ),
    "currency": Member(MappingProxyType({"const": "USD"}), "Of the costs."),
    "rows": Member(
        MappingProxyType({"type": "array", "items": {"$ref": "#/components/schemas/Row"}}),
        "Days and hours in order; all else by its cost, the most first.",
    ),
    "rows_left_out": Member(_COUNT, "Rows that were too many for one answer; the total has them too."),
    "total": Member(MappingProxyType({"$ref": "#/components/schemas/Figures"}), "The sum of all rows."),
})  # fmt: skip

STANDING: Final[Mapping[str, Member]] = MappingProxyType({
    "allowance": Member(_TEXT, "As the owner wrote it, such as 5.00/month."),
    "unit": Member(MappingProxyType({"enum": ["dollars", "tokens"]}), "What it counts."),
    "spent": Member(_AMOUNT, "What was used in the present period."),
    "reserved": Member(_AMOUNT, "What calls under way have reserved."),
    "left": Member(_AMOUNT, "The rest; below zero where answers were longer than what was reserved for them."),
    "resets": Member(_MAYBE_TIME, "When the period ends; null where it has no such end."),
})  # fmt: skip
"""Of an allowance of a key."""

KEY: Final[Mapping[str, Member]] = MappingProxyType({
    "name": Member(_TEXT, "The key's name; the key itself is told nowhere."),
    "source": Member(MappingProxyType({"enum": ["file", "store"]}), "The configuration, or the command keys."),
    "hint": Member(_TEXT, "What may be told of the key's text; empty for one of the configuration."),
    "created": Member(_MAYBE_TIME, "When it was made; null for one of the configuration."),
    "expires": Member(_MAYBE_TIME, "When it ends; null: never."),
    "revoked": Member(_MAYBE_TIME, "When it was ended; null: it was not."),
    "limits": Member(
        MappingProxyType({"type": "object", "additionalProperties": dict(_COUNT)}),
        "Calls by their window; 0: no limit.",
    ),
    "tokens": Member(_TEXTS, "Its allowances of tokens."),
    "budget": Member(_TEXTS, "Its allowances of dollars."),
    "models": Member(_TEXTS, "The models that it is for."),
    "addresses": Member(_TEXTS, "The networks that it works from; none: all that may call."),
    "concurrency": Member(_COUNT, "Calls at a time; 0: no limit."),
    "prompts": Member(MappingProxyType({"type": "boolean"}), "Whether the ledger also keeps what was said."),
    "allowances": Member(
        MappingProxyType({"type": "array", "items": {"$ref": "#/components/schemas/Standing"}}),
        "How each of them stands.",
    ),
})  # fmt: skip
"""Of a virtual key."""
