"""Every call of the command line to the Supabase API goes through here.

One client for one command, made from the settings; every failure leaves as a CliError. The Supabase
client is imported when it is first needed: help and shell completion do without it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from flowstate_cli.actor import ACTOR_HEADER, current_actor
from flowstate_cli.errors import RefusedError
from flowstate_cli.inputs import is_uuid, parse_uuid
from flowstate_cli.settings import Settings, load_settings

if TYPE_CHECKING:
    import httpx
    from supabase import Client

_TIMEOUT_SECONDS = 30
Row = dict[str, Any]


class Query(Protocol):
    """Anything of the Supabase client that can be executed."""

    def execute(self) -> Any: ...


class Api:
    """The API with the service role's key. Use as a context manager."""

    def __init__(self, settings: Settings) -> None:
        import httpx
        from supabase import ClientOptions, create_client

        self.settings = settings
        self.url, key = settings.api()
        self._status: int | None = None
        self._is_page = False
        self._http = httpx.Client(
            timeout=_TIMEOUT_SECONDS, event_hooks={"response": [self._remember]}
        )
        options = ClientOptions(
            auto_refresh_token=False, persist_session=False, httpx_client=self._http
        )
        options.headers[ACTOR_HEADER] = current_actor()
        self.client: Client = create_client(self.url, key, options)

    def __enter__(self) -> Api:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def rpc(self, name: str, arguments: Row | None = None) -> Any:
        """The data that an SQL function returns."""
        return self.run(self.client.rpc(name, arguments or {}))

    def table(self, name: str) -> Any:
        """The Supabase client's query builder; give the finished query to `rows` or `run`."""
        return self.client.table(name)

    def rows(self, query: Query) -> list[Row]:
        """The rows of a query on a table or view."""
        from flowstate_cli.api_errors import no_api

        rows = self.run(query)
        if not isinstance(rows, list):
            raise no_api(self.url)
        return rows

    def run(self, query: Query) -> Any:
        """The data of a query. Raises a CliError that says what the failure means."""
        from flowstate_cli.api_errors import no_api

        with self.explained():
            data = query.execute().data
        if self._is_page:
            raise no_api(self.url)
        return data

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Turns what the Supabase client raises into a CliError."""
        import httpx
        from postgrest.exceptions import APIError
        from supabase_auth.errors import AuthError

        from flowstate_cli.api_errors import is_no_error_of_the_api, no_api, refused, unreachable

        self._status = None
        try:
            yield
        except APIError as error:
            if is_no_error_of_the_api(error, self._status):
                raise no_api(self.url) from error
            raise refused(error, self._status) from error
        except AuthError as error:
            fields = {"message": error.message, "code": getattr(error, "code", None)}
            raise refused(APIError(fields), self._status) from error
        except httpx.HTTPError as error:
            raise unreachable(error, self.url, is_local=self.settings.is_local) from error

    def user_id(self, reference: str, field: str = "--user") -> str:
        """The id of a user named by id or e-mail address. Raises RefusedError for nobody."""
        if "@" in reference:
            found = self.rpc("list_users", {"search": reference, "max": 1})
            if found:
                return str(found[0]["user_id"])
            raise RefusedError(
                "No user has this e-mail address.",
                field=field,
                hint="Users sign up through Supabase Auth; see them with: flowstate users list",
            )
        if not is_uuid(reference):
            parse_uuid(reference, field, or_else="an e-mail address")
        profiles = self.rows(
            self.table("user_profiles").select("user_id").eq("user_id", reference).limit(1)
        )
        if not profiles:
            raise RefusedError(f"There is no user {reference}.", field=field)
        return reference

    def flow(self, reference: str, user_id: str | None = None, field: str = "flow") -> Row:
        """A flow named by id or, where that is unique, by name. Raises RefusedError otherwise."""
        query = self.table("flows").select("*").limit(2)
        query = query.eq("id" if is_uuid(reference) else "name", reference)
        if user_id is not None:
            query = query.eq("user_id", user_id)
        found = self.rows(query)
        if len(found) == 1:
            return found[0]
        if found:
            raise RefusedError(
                f"More than one user has a flow called {reference!r}.",
                field=field,
                hint="Name it by id, or add --user.",
            )
        raise RefusedError(
            f"There is no flow {reference!r}.", field=field, hint="See: flowstate flows list"
        )

    def _remember(self, response: httpx.Response) -> None:
        self._status = response.status_code
        self._is_page = "json" not in response.headers.get("content-type", "json")


@contextmanager
def open_api() -> Iterator[Api]:
    """The API that the settings name."""
    with Api(load_settings()) as api:
        yield api
