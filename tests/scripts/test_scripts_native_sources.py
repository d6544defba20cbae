"""What the sources of native modules must not do, since compiled it is something else."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest

import native

PLAN = native.Plan()
SOURCES = [file.as_posix() for file in PLAN.sources()]


def within(nodes: list[ast.stmt]) -> Iterator[ast.AST]:
    """All that runs in these statements themselves, not in functions made there."""
    left: list[ast.AST] = list(nodes)
    while left:
        node = left.pop()
        yield node
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            left += ast.iter_child_nodes(node)


def tree(source: str) -> ast.Module:
    return ast.parse((PLAN.root / source).read_text("utf-8"))


@pytest.mark.parametrize("source", SOURCES)
def test_nothing_waits_while_it_handles_an_exception(source: str) -> None:
    """Compiled, the exception would be what all others are handling, and stay so: each that they raise would hold
    it, and all that it holds."""
    waits = (ast.Await, ast.AsyncFor, ast.AsyncWith, ast.Yield, ast.YieldFrom)
    for each in ast.walk(tree(source)):
        if isinstance(each, ast.Try):
            bodies = [each.finalbody, *(handler.body for handler in each.handlers)]
            found = [node.lineno for body in bodies for node in within(body) if isinstance(node, waits)]
            assert found == []


@pytest.mark.parametrize("source", SOURCES)
def test_no_cause_is_told(source: str) -> None:
    """Compiled, there would be none."""
    for each in ast.walk(tree(source)):
        if isinstance(each, ast.Raise) and each.cause is not None:
            assert ast.unparse(each.cause) == "None", each.lineno


def test_what_msgspec_reads_stays_interpreted() -> None:
    """Compiled, its annotations would be lost, and two of them would be equal only if they were one."""
    found = [
        each.name
        for source in SOURCES
        for each in ast.walk(tree(source))
        if isinstance(each, ast.ClassDef) and "msgspec.Struct" in map(ast.unparse, each.bases)
    ]
    assert found == ["_Line"], "which is only written"
