"""``usage``: who used what, from the ledger; ``usage forget`` erases calls. Both work while the gateway runs."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec

from chatgpt_platform.accounts import inquiry, reporting
from chatgpt_platform.accounts.reporting import Report
from chatgpt_platform.errors import ConfigurationError
from chatgpt_platform.ledger import erasure, reports
from chatgpt_platform.ledger.trouble import PASSING, described
from chatgpt_platform.settings.load import load
from chatgpt_platform.settings.schema import Settings
from chatgpt_platform.settings.text import printable, quoted


def add_parser(commands: Any) -> None:
    parser = commands.add_parser("usage", help="tell who used what")
    parser.add_argument("--config", metavar="FILE", help="the configuration file")
    moment = f"{inquiry.EXPECTED}, in budgets.time_zone"
    parser.add_argument("--since", default="30d", metavar="S", help=f"the beginning: {moment} (default 30d)")
    parser.add_argument("--until", default="", metavar="U", help="the end, likewise; a date means its end")
    parser.add_argument("--by", choices=inquiry.BY, default="key", help="what is added up (default key)")
    parser.add_argument("--key", metavar="NAME", help='only calls with this key; "": those without one')
    parser.add_argument("--client", metavar="C", help="only calls from this address, as reports show it")
    parser.add_argument("--model", metavar="M", help="only calls for this model")
    parser.add_argument("--upstream", metavar="NAME", help='only calls to this upstream; "": those to none')
    parser.add_argument("--format", choices=("table", "csv", "json"), default="table", help="how it is written")
    parser.set_defaults(run=run)
    parts = parser.add_subparsers(metavar="forget", required=False)
    forget = parts.add_parser("forget", help="erase the calls of a key or of an address for good")
    forget.add_argument("--config", default=argparse.SUPPRESS, metavar="FILE", help="the configuration file")
    whose = forget.add_mutually_exclusive_group(required=True)
    whose.add_argument("--key", dest="whose_key", metavar="NAME", help="the key's name")
    whose.add_argument("--client", dest="whose_client", metavar="ADDRESS", help="the address, as reports show it")
    forget.add_argument("--yes", action="store_true", help="do not ask back")
    forget.set_defaults(run=run_forget)


def run(arguments: argparse.Namespace, environment: Mapping[str, str]) -> int:
    settings = load(environment, config=arguments.config).settings
    directory = _directory(settings)
    for name in ("since", "until"):
        text = getattr(arguments, name)
        if not (inquiry.is_moment(text) or (name == "until" and not text)):
            print(f"usage: --{name} {quoted(text)}: expected {inquiry.EXPECTED}", file=sys.stderr)
            return 2
    zone = inquiry.owners_zone(settings.budgets.time_zone)
    span = inquiry.span(arguments.since, arguments.until, time.time(), zone)
    if span.is_empty:
        print("usage: the span ends before it begins: give an earlier --since", file=sys.stderr)
        return 2
    filters = {name: value for name in inquiry.FILTERS if (value := getattr(arguments, name)) is not None}
    if "client" in filters:
        filters["client"] = inquiry.address(filters["client"])
    query = reports.Query(span.since, span.until, arguments.by, **filters)
    try:
        with closing(reports.connect(directory)) as connection:
            figures = reports.figures(connection, query, zone)
    except PASSING as error:
        return _failed(error)
    zone_name = settings.budgets.time_zone or time.strftime("%Z")
    report = reporting.report(figures, span, zone, zone_name, arguments.by, filters)
    print(_written(report, arguments.format), end="")
    return 0


def run_forget(arguments: argparse.Namespace, environment: Mapping[str, str]) -> int:
    directory = _directory(load(environment, config=arguments.config).settings)
    key, client = arguments.whose_key, arguments.whose_client
    if client is not None:
        client = inquiry.address(client)
    whose = f"the key {quoted(key)}" if key is not None else f"the address {quoted(client)}"
    if not arguments.yes:
        if not sys.stdin.isatty():
            print("usage forget: nobody can be asked back here; say --yes", file=sys.stderr)
            return 2
        print(f"Erase all calls of {whose} for good, their tokens and costs too? [y/N] ", end="", flush=True)
        if sys.stdin.readline().strip().lower() not in ("y", "yes"):
            print("nothing is erased")
            return 1
    try:
        with closing(erasure.connect_to_erase(directory)) as connection:
            erased = erasure.forget(connection, key=key, client=client)
    except PASSING as error:
        return _failed(error)
    print(f"{erased:,} call{'' if erased == 1 else 's'} of {whose} erased")
    return 0


def _directory(settings: Settings) -> Path:
    """The state directory. Raises ConfigurationError where there is none."""
    if not settings.state.directory:
        raise ConfigurationError(["usage: no calls are recorded, since state.directory is empty; set it"])
    return Path(settings.state.directory)


def _written(report: Report, form: str) -> str:
    if form == "csv":
        return reporting.as_csv(report, "\n")
    if form == "json":
        return msgspec.json.format(msgspec.json.encode(reporting.as_object(report))).decode() + "\n"
    return reporting.table(report)


def _failed(error: Exception) -> int:
    print(f"usage: {printable(described(error))}", file=sys.stderr)
    return 1
