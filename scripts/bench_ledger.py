"""The mode `ledger` of scripts/bench.py: what rows cost to write, and how long reports over them take.

Rows go the way of the gateway's own: added, flushed and written by the ledger's thread, which rolls them up as it
goes. They are of 300 keys, 20,000 clients, 8 models, 3 upstreams and 90 days; few keys and clients have many.
Reports are timed on a fresh connection each, the median of three.
"""

import datetime
import logging
import math
import random
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from bench_report import megabytes, text_table
from chatgpt_platform.ledger.erasure import connect_to_erase, forget
from chatgpt_platform.ledger.ledger import Ledger
from chatgpt_platform.ledger.reports import Query, connect, figures

KEYS, CLIENTS, MODELS, UPSTREAMS, DAYS = 300, 20_000, 8, 3, 90
_FLUSHED, _FLUSHED_AFTER = 25_000, 1800
_DAY = 86_400
_KEY, _CLIENT = "key-150", "192.0.77.77"


def run(rows: int) -> None:
    """Fills a ledger in a temporary directory, and prints what that took and what its reports take."""
    with tempfile.TemporaryDirectory(prefix="chatgpt-platform-bench-") as name:
        folder = Path(name)
        fill(folder, rows)
        print(text_table(("report", "ms", "lines"), [*reports(folder)]), flush=True)
        erase(folder)


def fill(folder: Path, rows: int) -> None:
    """Adds rows as fast as the ledger's thread takes them, by a clock that they set: each half an hour of theirs.

    All CPU but this thread's own is that thread's.
    """
    logging.basicConfig()
    moment = flushed = 0.0
    ledger = Ledger(folder, 0, 0, 0, logging.getLogger("ledger"), lambda: round(moment * 1e9))
    ledger.open()
    started, used, own = time.monotonic(), time.process_time(), time.thread_time()
    for number, row in enumerate(mix(rows), 1):
        ledger.add(row)
        moment = row[0]
        if number % _FLUSHED and moment < flushed + _FLUSHED_AFTER:
            continue
        flushed = moment
        if not ledger.settle(600):
            raise RuntimeError("the ledger does not write")
    ledger.settle(600)
    spent = time.process_time() - used - (time.thread_time() - own)
    seconds = time.monotonic() - started
    ledger.close()
    size = sum(path.stat().st_size for path in folder.iterdir())
    print(f"{rows:,} rows, {megabytes(size)} MB, in {seconds:.0f} s; {spent / rows * 1e6:.2f} us of CPU a row,")
    print(f"roll-up included; rows lost: {ledger.lost}\n", flush=True)


def mix(count: int) -> Iterator[tuple[Any, ...]]:
    """Rows of the last 90 days in their order. A client has its key, and a key three models of its own."""
    chance = random.Random(6)
    clients = [f"192.0.{number // 256}.{number % 256}" for number in range(CLIENTS)]
    keys = [f"key-{number % KEYS}" for number in range(CLIENTS)]
    models = [f"model-{number}" for number in range(MODELS)]
    upstreams = [f"upstream-{number}" for number in range(UPSTREAMS)]
    step = DAYS * _DAY / count
    moment = time.time() - DAYS * _DAY
    for number in range(count):
        moment += step
        tilted = chance.random()
        who = int(tilted * tilted * CLIENTS)  # half of all calls come from a fourth of the clients
        model = (who % KEYS + int(tilted * 1e6) % 3) % MODELS
        tokens = int(tilted * 1e7) % 2000
        outcome = "complete" if number % 20 else ("denied", "client_left", "upstream_failed")[number // 20 % 3]
        yield (
            moment, f"{chance.getrandbits(128):032x}", keys[who], clients[who], "/v1/chat/completions",
            models[model], upstreams[model % UPSTREAMS], 200, tokens, 0, tokens // 3, tokens * 450_000, 1,
            812.5, 95.25, number & 1, outcome, "reported",
        )  # fmt: skip


def reports(folder: Path) -> Iterator[Sequence[str]]:
    """Each report with its milliseconds and its lines."""
    now = time.time()
    always, odd = (-math.inf, math.inf), (now - 71.3 * _DAY, now - 1.4 * _DAY)
    asked = [(f"by {by}", Query(*always, by)) for by in ("key", "client", "model", "upstream", "day", "hour")]
    asked += [(f"by {by}, 70 days", Query(*odd, by)) for by in ("key", "client", "model", "day")]
    asked += [(f"one key's, by {by}", Query(*always, by, key=_KEY)) for by in ("client", "model", "day", "hour")]
    asked += [("one model's, by key", Query(*always, "key", model="model-3"))]
    asked += [("one client's, by client", Query(*always, "client", client=_CLIENT))]
    asked += [("one client's, by day (from rows)", Query(*always, "day", client=_CLIENT))]
    for name, query in asked:
        taken = []
        for _ in range(3):
            connection = connect(folder)
            started = time.monotonic()
            lines = figures(connection, query, datetime.UTC)
            taken.append(time.monotonic() - started)
            connection.close()
        yield name, f"{statistics.median(taken) * 1000:.0f}", f"{len(lines):,}"


def erase(folder: Path) -> None:
    """Forgets one client, and says what that took."""
    connection: sqlite3.Connection = connect_to_erase(folder)
    started = time.monotonic()
    count = forget(connection, client=_CLIENT)
    print(f"\nForgetting a client of {count:,} rows took {time.monotonic() - started:.1f} s.")
    connection.close()
