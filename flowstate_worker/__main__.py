"""`python -m flowstate_worker`, also installed as `flowstate-worker`. Settings: FLOWSTATE_*.

Exit codes: 0 drained; 1 a loop died, or outcomes could not be stored; 2 settings; 3 the API refuses
the key; 4 migrations are missing; 5 the API cannot be reached.
"""

import asyncio
import signal
import sys

from flowstate_worker.errors import FlowStateError, SettingsInvalid
from flowstate_worker.logs import configure_logs, get_logger
from flowstate_worker.settings import Settings, load_settings
from flowstate_worker.worker import Worker


async def serve(settings: Settings) -> None:
    """Run one worker until SIGTERM or SIGINT has drained it."""
    worker = Worker(settings)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, worker.drain)
    await worker.run()


def main() -> int:
    """Returns the process's exit code."""
    try:
        settings = load_settings()
    except SettingsInvalid as error:
        sys.stderr.write(f"flowstate-worker: the settings cannot be used\n{error}\n")
        return error.exit_code
    configure_logs(settings.log_level, settings.log_format, secrets=settings.secrets())
    try:
        asyncio.run(serve(settings))
    except FlowStateError as error:
        get_logger(__name__).critical("ended", error=str(error), exit_code=error.exit_code)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
