"""Garbage collection for packages whose tests each collect; a conftest takes the fixture by importing it."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="package")
def quick_collection() -> Iterator[None]:
    """Collect only what the tests here leave: what was imported before stays anyway."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()
