"""A web server of one application that listens until it is interrupted."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from aiohttp import web

from hrlaif.errors import ConfigError


def listen(app: web.Application, *, host: str, port: int, ready: Callable[[int], None]) -> None:
    """Serve until interrupted; `ready` gets the port once the server listens (port 0 takes a free one).

    Raises:
        ConfigError: The address cannot be listened on.
        KeyboardInterrupt: Ctrl-C, after connections are closed and the application has cleaned up.
    """
    asyncio.run(_listen(app, host, port, ready))


async def _listen(app: web.Application, host: str, port: int, ready: Callable[[int], None]) -> None:
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError as error:
            raise ConfigError(f"cannot listen on {host}:{port} ({error.strerror}). Choose another --port.") from error
        ready(runner.addresses[0][1])
        await asyncio.Event().wait()
    finally:
        await runner.cleanup()
