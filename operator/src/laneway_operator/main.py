"""The composition of the operator's process."""

import asyncio
import logging
import sys
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from laneway.errors import LanewayError, Unavailable
from laneway.scaling.signals import Signals
from laneway.scaling.signals.valkey import ValkeySignals
from laneway.telemetry.admin import Health, serve_admin
from laneway.telemetry.logs import configure
from laneway_operator.apply import Applier
from laneway_operator.brokers import Address, Brokers
from laneway_operator.kube import Api, Credentials, find_credentials
from laneway_operator.lease import Leadership
from laneway_operator.metrics import Metrics
from laneway_operator.poller import Poller
from laneway_operator.report import Reporter
from laneway_operator.settings import Settings
from laneway_operator.watch import KopfWatch

log = logging.getLogger(__name__)

LOOK = 1.0
"""Seconds between looks for something that is not there yet."""


def main() -> None:
    """Run the operator until SIGTERM; a mistake in its surroundings is one sentence and the exit code 2."""
    try:
        settings = Settings.load()
    except LanewayError as error:
        print(error.message, file=sys.stderr)
        sys.exit(2)
    configure("laneway-operator", settings.log_format, settings.log_level)
    logging.getLogger("kopf").setLevel(logging.WARNING)
    asyncio.run(run(settings))


async def run(settings: Settings, find: Callable[[], Credentials] = find_credentials) -> None:
    """Watch, contend for the lease, and decide while it is held."""
    metrics, health = Metrics(), Health(asyncio.get_running_loop())
    async with Api(find, metrics.requested) as api:
        watch = KopfWatch(settings.namespaces, identity=settings.identity)
        leadership = Leadership(api, settings.lease_namespace, settings.lease, settings.identity)
        brokers = Brokers(api, _connect)
        reporter = Reporter(api, watch, settings.identity)
        poller = Poller(
            watch,
            brokers,
            Applier(api, watch),
            reporter,
            leading=lambda: watch.synced.is_set() and leadership.leading,
            reachable=lambda: leadership.reachable,
            observe=metrics,
        )
        metrics.follow(poller.outcomes, lambda: leadership.leading, lambda: leadership.reachable)
        with serve_admin(health, metrics.render, host=settings.host, port=settings.admin_port):
            try:
                await _until_watched(api)
                ours = {"lease": leadership.run(), "poller": poller.run(settings.interval), "reporter": reporter.run()}
                await _run_all(watch, health, ours)
            finally:
                health.end()
                await brokers.close()


async def _until_watched(api: Api) -> None:
    """kopf looks for kinds once, when it starts: the kind must be there."""
    said = False
    while not await _served(api):
        if not said:
            log.warning("waiting for the kind WorkerPool (laneway.dev/v1alpha1); the chart installs it: crds.enabled")
        said = True
        await asyncio.sleep(LOOK)


async def _served(api: Api) -> bool:
    try:
        return await api.serves_pools()
    except Unavailable as error:
        log.warning("waiting for the API server", extra={"cause": error.message})
        return False


async def _run_all(watch: KopfWatch, health: Health, jobs: Mapping[str, Coroutine[Any, Any, None]]) -> None:
    """Until kopf stops, which it does on SIGTERM and SIGINT, or one of ours fails."""
    stop = asyncio.Event()
    # Ours are there before kopf is, which at its end cancels whatever came after it.
    ours = [asyncio.create_task(job, name=name) for name, job in jobs.items()]
    for each in ours:
        each.add_done_callback(lambda _: stop.set())
    ours.append(asyncio.create_task(_begin(watch, health), name="readiness"))
    try:
        await watch.run(stop)
    finally:
        health.end()
        asyncio.get_running_loop().set_exception_handler(_left_behind)
        for each in ours:
            each.cancel()
        ended = await asyncio.gather(*ours, return_exceptions=True)
    for end in ended:
        if isinstance(end, Exception):
            raise end


async def _begin(watch: KopfWatch, health: Health) -> None:
    await watch.started.wait()
    health.begin()


def _connect(address: Address) -> Signals:
    return ValkeySignals(address.url, ssl_ca_data=address.authority)


def _left_behind(_: asyncio.AbstractEventLoop, context: Mapping[str, Any]) -> None:
    """kopf does not close the generators of its watches when it ends, which asyncio would report as an error."""
    log.debug("left behind at the end", extra={"cause": str(context.get("message"))})
