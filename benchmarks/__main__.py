"""All benchmarks, one after the other: half an hour. `make bench` runs this.

python -m benchmarks [name …] [--report]
"""

from __future__ import annotations

import argparse
import importlib
import time
import traceback

from benchmarks import report

NAMES = (
    "worker_cycle",
    "simulated",
    "claim_finish",
    "enqueue",
    "log_page",
    "memory",
    "idle",
)


def main() -> int:
    """Returns 1 if a benchmark could not be run; the others are run all the same."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help=f"of {', '.join(NAMES)}; all when none is given")
    parser.add_argument("--report", action="store_true", help="only write results/README.md anew")
    options = parser.parse_args()
    if unknown := set(options.names) - set(NAMES):
        parser.error(f"no benchmark is called {', '.join(unknown)}; there are {', '.join(NAMES)}")
    failed = []
    for name in () if options.report else options.names or NAMES:
        print(f"· {name}", flush=True)
        started = time.monotonic()
        try:
            importlib.import_module(f"benchmarks.{name}").main([])
        except Exception:
            traceback.print_exc()
            failed.append(name)
        print(f"  {time.monotonic() - started:.0f} s", flush=True)
    report.write()
    if failed:
        print(f"failed: {', '.join(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
