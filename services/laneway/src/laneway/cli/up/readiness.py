"""Whether a process serves: asked of its port, not guessed from time that passed."""

import asyncio

from laneway.cli.up.plan import Process, Ready

EVERY = 0.03
"""Seconds between two questions."""


async def until_ready(process: Process) -> None:
    """Return when a process serves; the caller bounds the time."""
    if process.port is None or process.ready is Ready.RUNS:
        return
    while not await _asked(process, process.port):  # noqa: ASYNC110 (nothing tells us when another process listens)
        await asyncio.sleep(EVERY)


async def _asked(process: Process, port: int) -> bool:
    host = "127.0.0.1" if process.host == "0.0.0.0" else process.host
    try:
        reader, writer = await asyncio.open_connection(host, port)
    except OSError:
        return False
    try:
        if process.ready is Ready.PONG:
            writer.write(b"PING\r\n")
            return (await reader.readline()).startswith(b"+PONG")
    except OSError:
        return False
    finally:
        writer.close()
    return process.ready is not Ready.HEALTHY or await _healthy(host, port)


async def _healthy(host: str, port: int) -> bool:
    import grpc.aio
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    async with grpc.aio.insecure_channel(f"{host}:{port}") as channel:
        try:
            answer = await health_pb2_grpc.HealthStub(channel).Check(  # type: ignore[attr-defined]
                health_pb2.HealthCheckRequest(), timeout=2
            )
        except grpc.aio.AioRpcError:
            return False
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)
