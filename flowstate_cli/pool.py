"""Writes to the pool: owners, the allow-list, and the instances of the local simulator."""

from __future__ import annotations

from urllib.parse import urlsplit

from flowstate_cli.api import Api, Row
from flowstate_cli.errors import NotReachableError


def allow_host(api: Api, host: str) -> None:
    """Adds `host` (or host:port) to load_balancer_config.allowed_hosts, once."""
    config = api.rows(api.table("load_balancer_config").select("allowed_hosts"))
    if not config:
        raise NotReachableError(
            "load_balancer_config has no row: the migrations did not finish.",
            hint="Run: flowstate db push",
        )
    hosts: list[str] = config[0]["allowed_hosts"]
    if host not in hosts:
        change = {"allowed_hosts": [*hosts, host]}
        api.run(api.table("load_balancer_config").update(change).eq("id", True))


def save_owner(api: Api, owner: str, account_type: str) -> None:
    """Makes the owner unless there is one of this name, which is left as it is."""
    row: Row = {"owner": owner, "account_type": account_type}
    api.run(api.table("apps_script_owners").upsert(row, ignore_duplicates=True))


def register_pool(api: Api, owners: list[Row], instances: list[Row]) -> None:
    """Owners and instances as given, found again by name; their hosts are allowed."""
    hosts = {urlsplit(instance["url"]).netloc for instance in instances}
    for host in sorted(hosts):
        allow_host(api, host)
    api.run(api.table("apps_script_owners").upsert(owners, on_conflict="owner"))
    api.run(api.table("apps_script_instances").upsert(instances, on_conflict="name"))
