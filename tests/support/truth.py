"""Three accounts of the same calls, compared to the last token: the callers', the ledger's and the upstreams'.

    compared = compare(seen, rows_of(directory), running.simulators)
    compared.faults         # empty, or the account does not hold
    compared.report()       # the sums

``seen``: of ``support.accounts``, whose calls say their number in the prompt; so each of them is looked at, not
only the sums. What no gateway can know is told apart: a call whose usage nobody reported is ``estimated`` in the
ledger, and here its figures are put beside what was generated.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from chatgpt_platform.ledger import reports
from chatgpt_platform.ledger.reports import Figures, Query
from chatgpt_platform.ledger.rows import COLUMNS, OUTCOMES
from chatgpt_platform.settings.dates import zone_of
from chatgpt_platform.simulator.request import Generated
from chatgpt_platform.simulator.server import Simulator
from support.accounts import Planned, Seen, address_of, number_of

Row = Mapping[str, Any]
"""One of the ledger's, by the names of its columns."""

SUMS: Final = ("prompt_tokens", "completion_tokens", "cached_tokens", "cost")
_HALF_EVENT: Final = "cut-event"
"""The fault that breaks an event in two: its token was generated, and nobody can have read it."""
_BAD_JSON: Final = "bad-json"
"""The one at which the platform API gives up reading."""
_SHOWN: Final = 20


@dataclass
class Group:
    """Calls of one kind: what the ledger has of them, what was generated, what their callers read."""

    calls: int = 0
    ledger: int = 0
    generated: int = 0
    callers: int = 0

    @property
    def line(self) -> str:
        return f"{self.calls:>7,} {self.ledger:>10,} {self.generated:>10,} {self.callers:>10,}"


@dataclass
class Compared:
    """``groups``: completion tokens by usage and outcome. ``faults``: where two accounts differ that may not."""

    groups: defaultdict[tuple[str, str, str], Group] = field(default_factory=lambda: defaultdict(Group))
    prompts: defaultdict[str, Group] = field(default_factory=lambda: defaultdict(Group))
    faults: list[str] = field(default_factory=list)
    unread: int = 0
    """Tokens of streams that were generated while their caller was leaving, and never reached the gateway."""

    def report(self) -> str:
        """The sums, as a table for people."""
        lines = [f"{'usage':<10}{'outcome':<17}{'shape':<7}  calls     ledger  generated    callers"]
        for (usage, outcome, shape), group in sorted(self.groups.items()):
            lines.append(f"{usage:<10}{outcome:<17}{shape:<7}{group.line}")
        lines += [f"{usage:<10}{'prompt tokens':<24}{group.line}" for usage, group in sorted(self.prompts.items())]
        lines.append(f"tokens that were on their way to a gateway whose caller had left: {self.unread:,}")
        return "\n".join(lines)

    def shown(self) -> str:
        """The first faults."""
        more = len(self.faults) - _SHOWN
        return "\n".join([*self.faults[:_SHOWN], *([f"and {more} more"] if more > 0 else [])])


def rows_of(directory: Path) -> list[Row]:
    """All rows of a ledger. Raises LedgerError."""
    with closing(reports.connect(directory)) as connection:
        names = ("id", *COLUMNS)
        return [dict(zip(names, row, strict=True)) for row in connection.execute("SELECT * FROM calls")]


def generated_by(simulators: Iterable[Simulator]) -> dict[int, tuple[Generated, str]]:
    """What was generated for each call, by its number, and the last fault that it met."""
    found: dict[int, tuple[Generated, str]] = {}
    for simulator in simulators:
        for request in simulator.seen:
            number = number_of(request.body)
            if number is None:
                continue
            total, _ = found.get(number, (Generated(), ""))
            more = request.generated
            found[number] = (
                Generated(
                    total.prompt_tokens + more.prompt_tokens, total.completion_tokens + more.completion_tokens
                ),
                request.fault,
            )
    return found


def compare(seen: Sequence[Seen], rows: Sequence[Row], simulators: Mapping[str, Simulator]) -> Compared:
    """Put the accounts side by side, call by call. All must be over."""
    compared = Compared()
    by_id, by_client = _sorted(rows)
    generated = generated_by(simulators.values())
    for one in seen:
        mine = by_id.get(one.request_id) or by_client.get(address_of(one.planned.number), [])
        if len(mine) != 1:
            compared.faults.append(f"{name(one)} has {len(mine)} rows")
            continue
        compare_call(compared, one, mine[0], *generated.get(one.planned.number, (Generated(), "")))
    if len(rows) != len(seen):
        compared.faults.append(f"{len(seen)} calls, {len(rows)} rows")
    return compared


def check_sums(compared: Compared, simulators: Mapping[str, Simulator]) -> None:
    """What was compared call by call must be all that the simulators have counted."""
    counted = sum(group.generated for group in compared.groups.values())
    prompts = sum(group.generated for group in compared.prompts.values())
    stats = [simulator.stats for simulator in simulators.values()]
    said = sum(each.completion_tokens for each in stats), sum(each.prompt_tokens for each in stats)
    if (counted, prompts) != said:
        compared.faults.append(f"compared {counted} and {prompts} tokens, the simulators generated {said}")


def check_reports(directory: Path, rows: Sequence[Row], faults: list[str]) -> None:
    """The sums that reports tell, of totals, must be those of the rows; by key, model, upstream and hour."""
    zone = zone_of("UTC")
    assert zone is not None
    with closing(reports.connect(directory)) as connection:
        for by in ("key", "model", "upstream", "day"):
            figures = reports.figures(connection, Query(0, float("inf"), by, None), zone)
            if by == "day":
                _check_figures("all", figures, rows, faults)
                continue
            for figure in figures:
                mine = [row for row in rows if row[by] == figure.name]
                _check_figures(f"{by} {figure.name}", [figure], mine, faults)


def check_budgets(directory: Path, rows: Sequence[Row], faults: list[str], *, held: bool = False) -> None:
    """What is remembered of each key's allowances, which must be for ever, must be the sum of its rows. ``held``:
    calls are under way that hold some of them."""
    with closing(reports.connect(directory)) as connection:
        states = dict(connection.execute("SELECT name, value FROM states WHERE kind = 'allowance'"))
    for key, text in states.items():
        mine = [row for row in rows if row["key"] == key]
        tokens = sum(row["prompt_tokens"] + row["completion_tokens"] for row in mine)
        cost = sum(row["cost"] for row in mine)
        for item, state in json.loads(text).items():
            expected = tokens if item.startswith("tokens/") else cost
            if state["spent"] != expected:
                faults.append(f"{key}: {item} has {state['spent']} spent, its rows say {expected}")
            if state["held"] and not held:
                faults.append(f"{key}: {item} holds {state['held']} for nobody")
    unsaved = {row["key"] for row in rows if row["completion_tokens"]} - {"", *states}
    faults += [f"{key}: nothing is remembered of its allowances" for key in unsaved]


def _check_figures(which: str, figures: Sequence[Figures], rows: Sequence[Row], faults: list[str]) -> None:
    outcomes = Counter(row["outcome"] for row in rows)
    expected = {
        "calls": len(rows), **{sum_: sum(row[sum_] for row in rows) for sum_ in SUMS},
        **{outcome: outcomes[outcome] for outcome in OUTCOMES},
        "estimated": sum(row["usage"] == "estimated" for row in rows),
    }  # fmt: skip
    told = {each: sum(getattr(figure, each) for figure in figures) for each in expected}
    if told != expected:
        faults.append(f"{which}: reports tell {told}, rows {expected}")


def _sorted(rows: Sequence[Row]) -> tuple[dict[str, list[Row]], dict[str, list[Row]]]:
    by_id: defaultdict[str, list[Row]] = defaultdict(list)
    by_client: defaultdict[str, list[Row]] = defaultdict(list)
    for row in rows:
        by_id[row["request_id"]].append(row)
        by_client[row["client"]].append(row)
    return by_id, by_client


def compare_call(compared: Compared, seen: Seen, row: Row, generated: Generated, fault: str) -> None:
    """Put the accounts of one call side by side."""
    shape = "stream" if seen.planned.stream else "json"
    group = compared.groups[row["usage"], row["outcome"], shape]
    group.calls += 1
    group.ledger += row["completion_tokens"]
    group.generated += generated.completion_tokens
    group.callers += seen.pieces if seen.completion is None else seen.completion
    prompts = compared.prompts[row["usage"]]
    prompts.calls += 1
    prompts.ledger += row["prompt_tokens"]
    prompts.generated += generated.prompt_tokens
    prompts.callers += seen.prompt or 0
    wrong = [*_wrong_place(seen, row), *_wrong_outcome(seen, row, fault)]
    wrong += _wrong_tokens(compared, seen, row, generated, fault)
    place = f"{name(seen)} ({fault or 'no fault'}, {row['usage']}, {row['outcome']})"
    compared.faults += [f"{place}: {what}" for what in wrong]


def _wrong_place(seen: Seen, row: Row) -> list[str]:
    planned = seen.planned
    wrong = [
        column
        for column, expected in (
            ("key", planned.holder),
            ("model", planned.model),
            ("stream", int(planned.stream)),
        )
        if row[column] != expected
    ]
    if seen.status and not seen.left and row["status"] != seen.status:
        wrong.append("status")
    return [f"the row's {column} is {row[column]!r}" for column in wrong]


def _wrong_outcome(seen: Seen, row: Row, fault: str) -> list[str]:
    outcome = row["outcome"]
    if seen.left:
        # It may have been over when its caller turned away.
        right = (outcome == "client_left") == (row["status"] == 499) and outcome != "cut"
    elif seen.whole:
        right = outcome == "complete"
    elif fault == _BAD_JSON and seen.planned.kind != "platform":
        right = outcome in ("complete", "upstream_failed")  # what passes through is not read
    else:
        right = outcome in ("upstream_failed", "denied")
    return [] if right else [f"its caller saw whole={seen.whole}, left={seen.left}, failure={seen.failure!r}"]


def _wrong_tokens(compared: Compared, seen: Seen, row: Row, generated: Generated, fault: str) -> list[str]:
    prompt, completion = row["prompt_tokens"], row["completion_tokens"]
    wrong = []
    if row["usage"] != "reported" and seen.completion is not None:
        wrong.append(f"its caller was told of {seen.prompt} + {seen.completion}")
    if row["usage"] == "none" and (completion or generated.completion_tokens):
        wrong.append(f"{generated.completion_tokens} tokens were generated")
    if row["usage"] == "reported" and (prompt, completion) != (
        generated.prompt_tokens,
        generated.completion_tokens,
    ):
        wrong.append(f"the row has {prompt} + {completion}, generated were {generated}")
    if seen.completion is not None and (seen.prompt, seen.cached or 0, seen.completion) != (
        prompt,
        row["cached_tokens"],
        completion,
    ):
        wrong.append(f"the row has {prompt} + {completion}, its caller {seen.prompt} + {seen.completion}")
    if row["usage"] == "estimated" and seen.planned.stream:
        missed = generated.completion_tokens - completion
        may_miss = int(fault == _HALF_EVENT)
        if seen.left or fault == _BAD_JSON:
            compared.unread += missed
            if not seen.pieces <= completion <= generated.completion_tokens:
                wrong.append(f"{seen.pieces} read, {completion} charged, {generated.completion_tokens} generated")
        elif not 0 <= missed <= may_miss:
            wrong.append(f"{completion} charged, {generated.completion_tokens} generated")
    return wrong


def name(seen: Seen) -> str:
    """A call, for people."""
    planned: Planned = seen.planned
    shape = " stream" if planned.stream else ""
    return f"call {planned.number} of {planned.holder or 'nobody'}, {planned.kind}{shape} to {planned.model}"
