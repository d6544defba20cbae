"""``serve``: runs the gateway until it is asked to stop."""

from __future__ import annotations

import argparse
import asyncio
import gc
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from chatgpt_platform import __version__
from chatgpt_platform.cli import life, listening, privileges, unpacked
from chatgpt_platform.cli.life import Manager, Stop
from chatgpt_platform.cli.notify import Notifier
from chatgpt_platform.errors import ConfigurationError
from chatgpt_platform.observe.logs import Logs
from chatgpt_platform.observe.redact import Redactor
from chatgpt_platform.settings.hidden import secrets_of
from chatgpt_platform.settings.load import Loaded, load
from chatgpt_platform.settings.schema import Settings, Upstream, changes, changes_needing_restart
from chatgpt_platform.settings.secret import Secret
from chatgpt_platform.settings.tls import Certificate, check_authorities
from chatgpt_platform.web.reception import MetricsReception
from chatgpt_platform.web.server import Server
from chatgpt_platform.web.service import Service

_COLLECT_AFTER: Final = (50_000, 10, 10)
"""New objects, and younger collections, after which the garbage collector looks; next to nothing here is garbage
that reference counts do not free."""

SETTLES_AFTER: Final = 0.5
"""Seconds after which a gateway that is ready does what would only have delayed its start."""

FLUSH_EVERY: Final = 0.25
"""Seconds between two writes of the log files: a kill at any moment loses no more."""


def add_parser(commands: Any) -> None:
    parser = commands.add_parser("serve", help="run the gateway")
    parser.add_argument("--config", metavar="FILE", help="the configuration file")
    parser.add_argument("--host", metavar="H", help="the address to listen on (server.host)")
    parser.add_argument("--port", metavar="P", help="the port to listen on (server.port)")
    parser.add_argument("--demo", action="store_true", help="use the built-in simulator: no key, no network")
    if sys.platform == "win32":
        parser.add_argument("--service", action="store_true", help="run under the Windows service manager")
    parser.set_defaults(run=run, service=False)


def run(arguments: argparse.Namespace, environment: Mapping[str, str]) -> int:
    flags = {"server.host": arguments.host, "server.port": arguments.port}
    given = {path: value for path, value in flags.items() if value is not None}

    def read() -> Loaded:
        return load(environment, config=arguments.config, flags=given)

    def start(manager: Manager) -> int:
        loaded = read()
        # As root still, where root started this: what was left may be root's.
        warnings = (*loaded.slips, *unpacked.clear_others(), *privileges.lay_down(loaded.settings))
        return life.run(
            _serve(loaded.settings, lambda: read().settings, warnings, environment, manager, demo=arguments.demo)
        )

    if not arguments.service:
        return start(Manager())
    from chatgpt_platform.cli import service_windows  # noqa: PLC0415 - on Windows only

    return service_windows.host(start, arguments.config)


async def _serve(
    settings: Settings, read_settings: Callable[[], Settings], slips: Sequence[str],
    environment: Mapping[str, str], manager: Manager, *, demo: bool,
) -> int:  # fmt: skip
    stop = Stop()
    manager.on_stop(asyncio.get_running_loop(), stop)
    if not demo:
        running = _Running(settings, read_settings, stop, slips, environment, manager, key_is_real=True)
        return await running.run()
    # A seventh of the start, so only those who ask for it pay for it.
    from chatgpt_platform.simulator.server import Behaviour, Simulator  # noqa: PLC0415

    simulator = Simulator(Behaviour(interval=0.02))
    try:
        port = simulator.listen()
        running = _Running(
            _with_simulator(settings, port),
            lambda: _with_simulator(read_settings(), port),
            stop,
            slips,
            environment,
            manager,
            key_is_real=False,
        )
        return await running.run()
    finally:
        await simulator.stop()


class _Running:
    """One run of the gateway, from listening to the last log line."""

    def __init__(
        self, settings: Settings, read_settings: Callable[[], Settings], stop: Stop, slips: Sequence[str],
        environment: Mapping[str, str], manager: Manager, *, key_is_real: bool,
    ) -> None:  # fmt: skip
        self._settings = settings
        self._started: Final = settings
        self._slips: Final = slips
        self._key_is_real: Final = key_is_real
        self._read_settings: Final = read_settings
        self._stop: Final = stop
        self._manager: Final = manager
        self._certificate: Final = Certificate(settings.server.tls)
        check_authorities(settings.upstreams)
        self._logs = _open_logs(settings)
        self._notifier: Final = Notifier(environment, self._logs.logger)
        self._serves = ""
        self._service: Final = Service(settings, self._logs)
        self._server: Final = Server(self._service, tls=self._certificate)
        own_port = settings.metrics.port > 0
        self._metrics: Final = Server(self._service, reception=MetricsReception) if own_port else None
        """That of the port for /metrics alone, where there is to be one."""

    async def run(self) -> int:
        flushing = asyncio.create_task(self._flush(), name="flush logs and ledger")
        alive = asyncio.create_task(self._notifier.keep_alive(), name="keep the watchdog calm")
        settling: asyncio.Task[None] | None = None
        try:
            port = self._listen()
            if port is None:
                return 1
            self._manager.on_reload(asyncio.get_running_loop(), self._reload)
            self._say_ready(port)
            settling = asyncio.create_task(self._settle_in(), name="settle in")
            await self._stop.wanted.wait()
            return await self._drain()
        finally:
            flushing.cancel()
            if settling is not None:
                settling.cancel()
            if self._metrics is not None:
                await self._metrics.close()
            await self._server.close()
            await self._service.close()
            alive.cancel()
            self._notifier.close()
            self._logs.close()

    def _listen(self) -> int | None:
        """The port of the gateway; None where it, or that of the metrics, cannot be had, which was said then."""
        server, metrics = self._settings.server, self._settings.metrics
        try:
            port = self._server.listen(server.host, server.port)
        except OSError as error:
            print(listening.failure(error, server.host, server.port), file=sys.stderr)
            return None
        try:
            if self._metrics is not None:
                self._metrics.listen(metrics.host, metrics.port)
        except OSError as error:
            print(listening.failure(error, metrics.host, metrics.port, "metrics"), file=sys.stderr)
            return None
        return port

    async def _settle_in(self) -> None:
        await asyncio.sleep(SETTLES_AFTER)
        await self._service.settle_in()
        _settle_in()

    async def _drain(self) -> int:
        log, timeout = self._logs.logger, self._settings.server.timeouts.drain
        log.info("stopping: no new calls; what is under way has %g s", timeout)
        self._notifier.stopping(timeout)
        self._manager.stopping(timeout)
        draining = asyncio.create_task(self._server.drain(timeout), name="drain")
        ending = asyncio.create_task(self._stop.at_once.wait(), name="end at once")
        await asyncio.wait((draining, ending), return_when=asyncio.FIRST_COMPLETED)
        ending.cancel()
        if not draining.done():
            draining.cancel()
            log.warning("ended at once, as asked for by a second signal")
            return 1
        cut = draining.result()
        if cut:
            log.warning("%d calls were still under way after %g s and are cut", cut, timeout)
        log.info("stopped")
        return 0

    async def _flush(self) -> None:
        while True:
            await asyncio.sleep(FLUSH_EVERY)
            self._service.flush()

    def _reload(self) -> None:
        with self._notifier.reloading():
            self._take_new_settings()

    def _take_new_settings(self) -> None:
        log = self._logs.logger
        try:
            settings = self._read_settings()
            check_authorities(settings.upstreams)
            self._certificate.renew(settings.server.tls)
        except ConfigurationError as error:
            for line in error.lines:
                log.error("reload refused: %s", line)
            log.error("reload refused: the former settings stay in force")
            self._notifier.status(f"{self._serves}; the last reload was refused, see the log")
            return
        for path in changes_needing_restart(self._started, settings):
            log.warning("%s has changed: this takes effect after a restart", path)
        restarts = changes_needing_restart(self._settings, settings)
        changed = [path for path in changes(self._settings, settings) if path not in restarts]
        former = self._logs
        changes_logs = _logged_as(settings) != _logged_as(self._settings)
        logs = _open_logs(settings) if changes_logs else former
        self._service.apply(settings, logs)
        self._settings, self._logs = settings, logs
        if changes_logs:
            former.close()
        self._server.rebuild()
        if self._metrics is not None:
            self._metrics.rebuild()
        self._notifier.status(self._serves)
        self._logs.logger.info(
            "the settings%s were read again and are in force; changed: %s",
            " and the certificate" if self._certificate.context else "",
            ", ".join(changed) or "no setting",
        )

    def _say_ready(self, port: int) -> None:
        log, settings = self._logs.logger, self._settings
        host = settings.server.host
        scheme = "https" if self._certificate.context else "http"
        self._serves = f"serves {scheme}://{listening.in_url(host)}:{port}"
        log.info("chatgpt-platform %s %s", __version__, self._serves)
        if self._metrics is not None:
            metrics = settings.metrics
            log.info("metrics are at http://%s:%d/metrics", listening.in_url(metrics.host), metrics.port)
        for slip in self._slips:
            log.warning("%s", slip)
        keyless = [each.name for each in settings.upstreams if not each.api_keys]
        if keyless:
            log.info(
                "%s: no key is configured (api_keys, API_KEY): each caller must bring one", ", ".join(keyless)
            )
        open_to_all = not settings.access.allow and not listening.is_loopback(host)
        if self._key_is_real and len(keyless) < len(settings.upstreams) and open_to_all:
            log.warning(
                "everybody who reaches %s:%d can spend the configured key: "
                "set access.allow to the addresses that may",
                host, port,
            )  # fmt: skip
        self._logs.flush()
        self._notifier.ready(self._serves)
        self._manager.ready()


def _settle_in() -> None:
    """Import what may be wanted later, and spare the garbage collector.

    What was imported stays: it need not walk it, nor look after every few calls.
    """
    copy = unpacked.current()
    if copy is not None:
        copy.load_all()
    gc.freeze()
    gc.set_threshold(*_COLLECT_AFTER)


def _open_logs(settings: Settings) -> Logs:
    logging = settings.logging
    return Logs(
        logging.directory,
        logging.level,
        logging.rotate.size,
        logging.rotate.keep,
        Redactor(secrets_of(settings)),
        sys.stdout,
    )


def _logged_as(settings: Settings) -> tuple[object, ...]:
    """All that the logs depend on."""
    return settings.logging, *secrets_of(settings)


def _with_simulator(settings: Settings, port: int) -> Settings:
    simulator = Upstream(name="simulator", base_url=f"http://127.0.0.1:{port}/v1", api_keys=(Secret("demo-key"),))
    return replace(settings, upstreams=(simulator,))
