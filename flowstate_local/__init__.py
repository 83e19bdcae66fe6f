"""The stack without Docker, for development, tests and the demo.

    with LocalStack.throw_away() as stack:
        stack.push_migrations()
        ...  # stack.info.api_url, stack.info.environment()

`LocalStack.create(directory)` gives one that stays. Real parts wherever a package has them:
Postgres, PostgREST, Edge Functions on Deno, the Supabase CLI; the API gateway and the Apps Script
simulator are our own.
"""

from flowstate_local.errors import (
    ComponentFailedError,
    LocalStackError,
    MigrationsFailedError,
    PortTakenError,
    StackBusyError,
    StackNotStartedError,
    UnsupportedPlatformError,
)
from flowstate_local.stack import LocalStack
from flowstate_local.state import StackInfo

__all__ = [
    "ComponentFailedError",
    "LocalStack",
    "LocalStackError",
    "MigrationsFailedError",
    "PortTakenError",
    "StackBusyError",
    "StackInfo",
    "StackNotStartedError",
    "UnsupportedPlatformError",
]
