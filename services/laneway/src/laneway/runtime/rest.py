"""The edge's role: REST in, gRPC out."""

import uvloop

from laneway.errors import ConfigurationError
from laneway.lanes.rest.app import rest_app
from laneway.lanes.rest.server import serve as serve_app
from laneway.runtime.installed import Factory
from laneway.runtime.process import process, stop_signal
from laneway.settings import Settings


def run(name: str, factory: Factory, settings: Settings) -> None:
    """Serve until the process is told to stop."""
    uvloop.run(serve(name, factory, settings))


async def serve(name: str, factory: Factory, settings: Settings) -> None:
    """The edge: REST in, gRPC out."""
    async with process(name, "rest", factory, settings) as own:
        if "rest" not in own.service.roles:
            raise ConfigurationError(f"`{name}` exposes nothing over REST; give it `expose` or `routers`.")
        app = rest_app(
            own.lanes,
            own.service.exposed,
            own.service.routers,
            tracing=own.tracing,
            metrics=own.metrics,
            title=name,
            options=own.service.edge,
            authenticate=own.service.authenticate,
        )
        await serve_app(
            app,
            host=settings.host,
            port=settings.rest_port,
            stopped=stop_signal(),
            grace=settings.grace_seconds,
            drain=settings.drain_seconds,
            health=own.health,
            options=own.service.edge,
        )
