"""What came since the last flush, on its way to the file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from chatgpt_platform.ledger.rows import Row


@dataclass
class States:
    """Small texts by name, to be saved; ``replaced``: all others of their kind are to go."""

    replaced: bool = False
    values: dict[str, str] = field(default_factory=dict)


@dataclass
class Batch:
    """Rows, said texts and states that are written in one transaction."""

    rows: list[Row] = field(default_factory=list)
    said: list[Row] = field(default_factory=list)
    said_size: int = 0
    """Characters in ``said``."""
    states: dict[str, States] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.rows or self.said or self.states)

    def save(self, kind: str, values: Mapping[str, str], *, replace: bool) -> None:
        """Lay states over those that wait, or put them in place of all of their kind."""
        if replace:
            self.states[kind] = States(True, dict(values))
        else:
            self.states.setdefault(kind, States()).values.update(values)

    def join(self, later: Batch) -> None:
        """Take in what came later."""
        self.rows += later.rows
        self.said += later.said
        self.said_size += later.said_size
        for kind, states in later.states.items():
            self.save(kind, states.values, replace=states.replaced)
