"""Both logs together: where lines go, what they look like, what never comes out."""

from __future__ import annotations

import io
import json
import logging
import os
import re
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatgpt_platform.observe.access import Record
from chatgpt_platform.observe.handler import MAX_TEXT, NAME, LineHandler
from chatgpt_platform.observe.logs import Logs
from chatgpt_platform.observe.redact import Redactor

SECRET = "test-key-1"
LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (DEBUG|INFO |WARNING|ERROR|CRITICAL) (.*)")
FOREIGN = ("tornado", "asyncio", "concurrent.futures")

Make = Callable[..., Logs]


@pytest.fixture
def out() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def make(out: io.StringIO) -> Iterator[Make]:
    made: list[Logs] = []

    def build(directory: object = "", level: str = "info", stdout: Any = out) -> Logs:
        made.append(Logs(str(directory), level, 1024 * 1024, 3, Redactor([SECRET]), stdout))
        return made[-1]

    yield build
    for logs in made:
        logs.close()


def record(**values: object) -> Record:
    base = Record(1769860800.123, "r-1", "192.0.2.1", "POST", "/chatgpt")
    for name, value in values.items():
        setattr(base, name, value)
    return base


def texts(shown: str) -> list[str]:
    matches = [LINE.fullmatch(line) for line in shown.splitlines()]
    return [match[2] for match in matches if match]


def test_with_a_directory_both_files_and_the_console_for_people(
    make: Make, out: io.StringIO, tmp_path: Path
) -> None:
    logs = make(tmp_path / "a" / "logs")
    logs.access(record())
    logs.logger.info("ready on %s", "port 1")
    logs.flush()
    assert json.loads((tmp_path / "a/logs/access.log").read_text())["request_id"] == "r-1"
    assert (tmp_path / "a/logs/app.log").read_text() == out.getvalue()
    assert texts(out.getvalue()) == ["ready on port 1"]


def test_without_a_directory_both_go_to_the_console(make: Make, out: io.StringIO) -> None:
    logs = make()
    logs.access(record())
    logs.logger.warning("careful")
    logs.flush()
    access, app = out.getvalue().splitlines()
    assert json.loads(access)["path"] == "/chatgpt"
    assert re.fullmatch(r"\S+Z WARNING careful", app)


def test_the_level_counts_and_others_only_warn(make: Make, out: io.StringIO) -> None:
    logs = make(level="warning")
    logs.logger.info("quiet")
    logs.logger.error("loud")
    logging.getLogger("tornado.access").info("quiet")
    logging.getLogger("tornado.general").warning("from below")
    logging.getLogger("asyncio").error("a task failed")
    logs.flush()
    assert texts(out.getvalue()) == ["loud", "tornado.general: from below", "asyncio: a task failed"]


def test_nothing_reaches_standard_error_or_the_root_logger(
    make: Make, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    logs = make()
    logs.logger.error("bad arguments %d", "x")
    for name in FOREIGN:
        logging.getLogger(name).error("bad arguments %d", "x")
    logs.flush()
    assert capfd.readouterr() == ("", "")
    assert caplog.records == []


def test_a_message_that_cannot_be_formatted_is_still_a_line(make: Make, out: io.StringIO) -> None:
    class Hostile:
        def __str__(self) -> str:
            raise RuntimeError(SECRET)

        __repr__ = __str__

    logs = make()
    logs.logger.info("%s", Hostile())
    logs.logger.info("%d", SECRET)
    logs.flush()
    place = f"{Path(__file__).name}:"
    first, second = texts(out.getvalue())
    assert first.startswith(f"a log message cannot be formatted (RuntimeError): {place}")
    assert second.startswith(f"a log message cannot be formatted (TypeError): {place}")
    assert SECRET not in out.getvalue()


def raise_and_log(logs: Logs, message: str, text: str) -> None:
    try:
        try:
            raise KeyError(text)
        except KeyError as error:
            raise ValueError(text) from error
    except ValueError:
        logs.logger.exception(message)


def test_an_exception_is_one_line_with_its_place(make: Make, out: io.StringIO) -> None:
    logs = make()
    raise_and_log(logs, "a fault", "line one\nline two")
    logs.flush()
    (text,) = texts(out.getvalue())
    assert re.fullmatch(r"a fault: ValueError: line one\\x0aline two \(test_observe_logs\.py:\d+\)", text)
    assert out.getvalue().count("\n") == 1


def test_a_traceback_comes_at_debug_only_and_cannot_forge_a_line(make: Make, out: io.StringIO) -> None:
    logs = make(level="debug")
    raise_and_log(logs, "a fault", "x\n2026-01-31T12:00:00.123Z INFO  forged\x1b[0m\u2028")
    logs.flush()
    first, *rest = out.getvalue().split("\n")
    assert LINE.fullmatch(first)
    assert "    Traceback (most recent call last):" in rest
    assert all(line.startswith("    ") for line in rest[:-1])
    assert texts(out.getvalue()) == ["a fault"]
    assert "\x1b" not in out.getvalue()


@pytest.mark.parametrize("level", ["debug", "info"])
def test_secrets_come_out_nowhere(make: Make, out: io.StringIO, tmp_path: Path, level: str) -> None:
    logs = make(tmp_path, level)
    looks = "sk-" + "y" * 20
    logs.logger.warning("message %s" % SECRET)  # noqa: UP031 - in the message itself
    logs.logger.warning("args %s %r", SECRET, {"authorization": f"Bearer {looks}"})
    logs.logger.warning("bytes %r", (b"authorization", f"Bearer {SECRET}".encode()))
    raise_and_log(logs, f"exception {looks}", f"{SECRET} {looks}")
    logging.getLogger("tornado.general").warning("GET /chatgpt?api_key=mine-alone %s", SECRET)
    logging.getLogger("asyncio").error("task", exc_info=ValueError(SECRET))
    for field in ("path", "model", "error", "method", "prompt", "answer", "upstream_request_id"):
        logs.access(record(**{field: f"/{SECRET}/{looks}"}))
    logs.close()
    written = out.getvalue() + "".join(path.read_text() for path in tmp_path.iterdir())
    assert written.count("***") > 15
    for secret in (SECRET, looks, "mine-alone"):
        assert secret not in written


@given(st.text(st.characters()))
def test_any_text_is_exactly_one_line(text: str) -> None:
    out = io.StringIO()
    logs = Logs("", "info", 0, 0, Redactor([]), out)
    try:
        logs.logger.info("%s", text)
        logs.access(record(path=text, model=text))
    finally:
        logs.close()
    app, access, rest = out.getvalue().split("\n")
    assert LINE.fullmatch(app)
    assert json.loads(access)
    assert rest == ""
    assert len(out.getvalue().splitlines()) == 2


def test_a_line_is_bounded_and_no_key_is_cut_in_half(make: Make, out: io.StringIO) -> None:
    logs = make()
    logs.logger.info("%s%s", "x" * (MAX_TEXT - 4), SECRET)
    logs.flush()
    assert texts(out.getvalue()) == ["x" * (MAX_TEXT - 4) + "***"]


def test_a_file_where_the_directory_should_be(make: Make, out: io.StringIO, tmp_path: Path) -> None:
    obstacle = tmp_path / "logs"
    obstacle.write_text("in the way")
    logs = make(obstacle)
    logs.access(record())
    logs.logger.info("goes on")
    logs.flush()
    warning, access, app = out.getvalue().splitlines()
    assert " WARNING the log directory " in warning
    assert "standard output" in warning
    assert f"remove {obstacle}" in warning
    assert "logging.directory" in warning
    assert json.loads(access)
    assert app.endswith("INFO  goes on")


def test_a_directory_that_may_not_be_written_names_the_cure(
    make: Make, out: io.StringIO, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: object, *_: object) -> int:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("chatgpt_platform.observe.logfile.os.open", refuse)
    logs = make(tmp_path)
    logs.flush()
    (warning,) = texts(out.getvalue())
    assert "Permission denied" in warning
    if sys.platform == "win32":
        assert "allow this user" in warning
    else:
        assert f"chown -R {os.getuid()} {tmp_path}" in warning


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="nothing is read-only to the superuser")
def test_a_read_only_directory(make: Make, out: io.StringIO, tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    logs = make(tmp_path)
    logs.access(record())
    logs.flush()
    assert len(texts(out.getvalue())) == 1
    assert len(out.getvalue().splitlines()) == 2


def test_trouble_with_one_file_is_said_in_the_other(make: Make, out: io.StringIO, tmp_path: Path) -> None:
    if os.name == "nt":
        pytest.skip("Windows lets nobody delete an open file")
    logs = make(tmp_path)
    logs.access(record())
    logs.flush()
    (tmp_path / "access.log").unlink()
    (tmp_path / "access.log").mkdir()
    logs.access(record())
    logs.flush()
    logs.flush()
    (text,) = texts((tmp_path / "app.log").read_text())
    assert "access.log cannot be written" in text
    (tmp_path / "access.log").rmdir()
    logs.flush()
    assert "written again; lines lost: 0" in out.getvalue()
    assert len((tmp_path / "access.log").read_text().splitlines()) == 1


@pytest.mark.parametrize("stdout", ["none", "closed", "broken"])
def test_without_a_standard_output_the_files_are_still_written(
    make: Make, tmp_path: Path, stdout: str, capfd: pytest.CaptureFixture[str]
) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as broken:
        closed = io.StringIO()
        closed.close()
        logs = make(tmp_path, stdout={"none": None, "closed": closed, "broken": broken}[stdout])
        logs.logger.info("one")
        logs.access(record())
        logs.flush()
        logs.close()
    assert texts((tmp_path / "app.log").read_text()) == ["one"]
    assert len((tmp_path / "access.log").read_text().splitlines()) == 1
    assert capfd.readouterr().err == ""


def test_a_reload_loses_and_doubles_nothing(make: Make, out: io.StringIO, tmp_path: Path) -> None:
    old = make(tmp_path, "debug")
    old.logger.debug("before")
    old.access(record(request_id="1"))
    new = make(tmp_path, "info")
    old.close()
    new.logger.info("after")
    logging.getLogger("asyncio").warning("after too")
    old.access(record(request_id="2"))
    new.access(record(request_id="3"))
    new.close()
    assert texts((tmp_path / "app.log").read_text()) == ["before", "after", "asyncio: after too"]
    lines = (tmp_path / "access.log").read_text().splitlines()
    assert [json.loads(line)["request_id"] for line in lines] == ["1", "2", "3"]
    assert texts(out.getvalue()) == ["before", "after", "asyncio: after too"]


def test_close_leaves_the_loggers_as_they_were(make: Make) -> None:
    logs = make()
    logs.close()
    logs.close()
    for name in (NAME, *FOREIGN):
        logger = logging.getLogger(name)
        assert not any(isinstance(handler, LineHandler) for handler in logger.handlers)
        assert logger.propagate
        assert logger.level == logging.NOTSET


def test_other_threads_may_log(make: Make, tmp_path: Path) -> None:
    logs = make(tmp_path)

    def chatter(name: int) -> None:
        for number in range(200):
            logs.logger.info("%d %d", name, number)

    threads = [threading.Thread(target=chatter, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        logs.flush()
    logs.close()
    assert len(set(texts((tmp_path / "app.log").read_text()))) == 800


def test_lines_are_put_together_in_batches(make: Make, tmp_path: Path) -> None:
    logs = make(tmp_path)
    for number in range(200):
        logs.access(record(request_id=f"r-{number}"))
    assert (tmp_path / "access.log").read_text() == "", "for the owner's timer"
    logs.flush()
    logs.access(record(request_id="r-200"))
    logs.close()
    logs.access(record(request_id="r-201"))  # of a call that ended later
    shown = [json.loads(line)["request_id"] for line in (tmp_path / "access.log").read_text().splitlines()]
    assert shown == [f"r-{number}" for number in range(202)]


def test_many_lines_do_not_wait_for_the_timer(make: Make, tmp_path: Path) -> None:
    logs = make(tmp_path)
    for number in range(2000):
        logs.access(record(request_id=f"r-{number}"))
    written = (tmp_path / "access.log").read_bytes()
    assert len(written) > 2 * 128 * 1024
    assert written.endswith(b"\n")
    logs.flush()
    shown = [json.loads(line)["request_id"] for line in (tmp_path / "access.log").read_text().splitlines()]
    assert shown == [f"r-{number}" for number in range(2000)]


def test_lines_that_do_not_fit_are_counted_one_by_one(make: Make, tmp_path: Path, out: io.StringIO) -> None:
    logs = make(tmp_path)
    file = tmp_path / "access.log"
    file.unlink()
    file.mkdir()  # so that nothing can be written
    path = "/" + "x" * 500
    for _ in range(10_000):
        logs.access(record(path=path))
    file.rmdir()
    logs.flush()
    written = len(file.read_text().splitlines())
    assert 0 < written < 10_000
    assert f"lines lost: {10_000 - written}" in out.getvalue()
    assert logs.lost == 10_000 - written
