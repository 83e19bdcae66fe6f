"""`python -m flowstate_local.gateway --config <json>`: serve until SIGTERM or SIGINT.

Exit codes: 0 stopped by a signal, 1 the port is taken, 2 unusable config.
"""

import argparse
import asyncio
import logging
import signal
import sys
from pathlib import Path

from aiohttp import web
from pydantic import ValidationError

from .app import build
from .config import HOST, GatewayConfig

SHUTDOWN_SECONDS = 1.0
"""How long requests in progress may take to end; the stack expects an exit within two."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m flowstate_local.gateway", description=__doc__)
    parser.add_argument("--config", type=Path, required=True, help="the gateway's JSON file")
    arguments = parser.parse_args()
    try:
        config = GatewayConfig.load(arguments.config)
    except (OSError, ValidationError) as error:
        sys.stderr.write(f"{arguments.config}: {error}\n")
        return 2
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    try:
        asyncio.run(serve(config))
    except OSError as error:
        sys.stderr.write(f"cannot listen on {HOST}:{config.port}: {error.strerror}\n")
        return 1
    return 0


async def serve(config: GatewayConfig) -> None:
    """Serve until a signal. Not web.run_app: that would wait a second for the listener to end."""
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    runner = web.AppRunner(build(config), access_log=None, shutdown_timeout=SHUTDOWN_SECONDS)
    await runner.setup()
    try:
        await web.TCPSite(runner, HOST, config.port).start()
        await stopping.wait()
    finally:
        await runner.cleanup()


if __name__ == "__main__":
    sys.exit(main())
