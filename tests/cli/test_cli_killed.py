"""kill -9 in the midst of work: what ledger and budgets know then. scripts/truth.py kills a hundred times."""

from __future__ import annotations

from pathlib import Path

from support.killed import Killed


def test_a_kill_takes_a_second_at_most(tmp_path: Path) -> None:
    with Killed(tmp_path, seed=3) as killed:
        killed.rounds(4, 1.2, 1.8)
    assert not killed.faults, "\n".join(killed.faults[:20])
    assert killed.exact > 30
    assert killed.cuts > 5
