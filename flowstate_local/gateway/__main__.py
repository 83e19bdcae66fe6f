"""`python -m flowstate_local.gateway --config <json>`: serve until SIGTERM or SIGINT.

Exit codes: 0 stopped by a signal, 2 unusable config.
"""

import argparse
import logging
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
    web.run_app(
        build(config),
        host=HOST,
        port=config.port,
        shutdown_timeout=SHUTDOWN_SECONDS,
        access_log=None,
        print=None,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
