"""Does PostgREST know every function that the database has? It reads the catalogs only when told.

Its own description does not tell: it is made from the catalogs, not from the cache. So each
function is asked for in a way that cannot run it: with GET, which PostgREST turns into a read-only
transaction, and with arguments that are no value of their types; without arguments, by OPTIONS.
"""

from __future__ import annotations

import httpx
import psycopg

from flowstate_cli.api import Api
from flowstate_cli.doctor.finding import Finding, fail, ok, warn

_FUNCTIONS = """
select p.proname, coalesce(p.proargnames[1:p.pronargs - p.pronargdefaults], '{}')
from pg_proc p join pg_namespace n on n.oid = p.pronamespace
where n.nspname = 'public' and p.prorettype <> 'trigger'::regtype
    and has_function_privilege('service_role', p.oid, 'execute')
    -- a function of texts alone could take what is sent and run
    and (p.pronargs = p.pronargdefaults
        or exists (
            select from unnest(p.proargtypes[0:p.pronargs - p.pronargdefaults - 1]) as t (oid)
            where t.oid <> 'text'::regtype))
order by p.proname
"""
_UNREADABLE = "no value"
_UNKNOWN = {"PGRST202"}


def examine_schema_cache(connection: psycopg.Connection, api: Api) -> Finding:
    """One finding, for all functions that the service role may call."""
    key = api.settings.api()[1]
    functions = connection.execute(_FUNCTIONS.encode()).fetchall()
    with httpx.Client(
        base_url=f"{api.url}/rest/v1/rpc/",
        headers={"apikey": key, "Authorization": f"Bearer {key}"},
        timeout=30,
    ) as client:
        try:
            missing = [name for name, names in functions if not _is_known(client, name, names)]
        except httpx.HTTPError as error:
            found = f"the API stopped answering ({type(error).__name__})"
            return warn("schema cache", found, "Run the command again.")
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        advice = "Run in SQL: notify pgrst, 'reload schema'"
        return fail("schema cache", f"the API does not know {missing[0]}{more}", advice)
    return ok("schema cache", f"the API knows all {len(functions)} functions")


def _is_known(client: httpx.Client, name: str, arguments: list[str]) -> bool:
    if not arguments:
        return client.options(name).status_code != httpx.codes.NOT_FOUND
    answer = client.get(name, params=dict.fromkeys(arguments, _UNREADABLE))
    try:
        return answer.json().get("code") not in _UNKNOWN
    except (ValueError, AttributeError):
        return True
