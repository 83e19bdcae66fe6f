"""The instances: is each one's key here, does a signed ping come back, is its clock right."""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from flowstate_cli.api import Api, Row
from flowstate_cli.doctor.clocks import clock_finding
from flowstate_cli.doctor.finding import Finding, Level, fail, ok, warn
from flowstate_cli.settings import ECHO_HOSTS, EXEC_HOSTS, INSTANCE_KEYS, Settings
from flowstate_worker.clients.hops import Cookies, Hops, instance_session
from flowstate_worker.errors import AddressRefused
from flowstate_worker.rules.addresses import Addresses, Target, parse_hosts
from flowstate_worker.rules.signing import SigningKey, sign

_CONNECT_SECONDS = 10.0
_ANSWER_SECONDS = 60.0
_AT_ONCE = 5


@dataclass(frozen=True)
class Pong:
    """A health answer, and the moment here (Unix seconds) that it belongs to."""

    health: dict[str, Any]
    at: float


def examine_instances(api: Api) -> list[Finding]:
    """One or two findings for each instance that may be called, and one for the builds."""
    rows = api.rows(
        api.table("apps_script_instances")
        .select("name, url, key_id, state, breaker_state, kind")
        .neq("state", "disabled")
        .eq("kind", "apps_script")
        .order("name")
    )
    if not rows:
        advice = "Add one: flowstate instances add"
        return [warn("instances", "the pool is empty: nothing can run", advice)]
    return asyncio.run(_ping_all(api.settings, rows))


async def _ping_all(settings: Settings, rows: list[Row]) -> list[Finding]:
    values = settings.values
    addresses = Addresses(
        parse_hosts(values.get(EXEC_HOSTS) or "script.google.com"),
        parse_hosts(values.get(ECHO_HOSTS) or "script.googleusercontent.com"),
    )
    keys = settings.instance_keys()
    builds: set[str] = set()
    turn = asyncio.Semaphore(_AT_ONCE)
    async with instance_session(_CONNECT_SECONDS) as session:
        hops = Hops(session, addresses, connect_seconds=_CONNECT_SECONDS)

        async def examine(row: Row) -> list[Finding]:
            async with turn:
                return await _examine(row, hops, addresses, keys, builds)

        found = [f for group in await asyncio.gather(*map(examine, rows)) for f in group]
    if len(builds) > 1:
        advice = "Deploy the same Code.gs to all."
        found.append(warn("builds", f"instances differ: {', '.join(sorted(builds))}", advice))
    return found


async def _examine(
    row: Row, hops: Hops, addresses: Addresses, keys: dict[str, str], builds: set[str]
) -> list[Finding]:
    check = f"instance {row['name']}"
    if row["key_id"] not in keys:
        advice = f"Add the script's HMAC_{row['key_id']} to {INSTANCE_KEYS}."
        return [fail(check, f"its key {row['key_id']} is not in this environment", advice)]
    try:
        addresses.check_exec(row["url"])
    except AddressRefused as error:
        return [fail(check, f"{error}", f"Mend the URL, or add its host to {EXEC_HOSTS}.")]
    answer = await _ping(row, SigningKey(row["key_id"], keys[row["key_id"]].encode()), hops)
    if isinstance(answer, Finding):
        return [answer]
    builds.add(str(answer.health.get("build")))
    clock = clock_finding(
        f"clock of {row['name']}",
        float(answer.health["now"]) / 1000 - answer.at,
        "Synchronise this machine's clock (NTP): an instance refuses what is 300 s off.",
    )
    found = [clock] if clock.level is not Level.OK else []
    mail = answer.health.get("mailRemaining")
    said = f"answers, build {answer.health.get('build')}, {mail} mails left today"
    if row["breaker_state"] != "closed":
        advice = "It closes by itself after a success; see the errors in: flowstate logs"
        return [warn(check, f"{said}; its breaker is {row['breaker_state']}", advice), *found]
    return [ok(check, said), *found]


async def _ping(row: Row, key: SigningKey, hops: Hops) -> Pong | Finding:
    """A signed GET, and the answer behind its redirect."""
    check = f"instance {row['name']}"
    before = time.time()
    body = json.dumps({"op": "ping", "instance": row["name"]}).encode()
    envelope = sign(key, body, ts=int(before), nonce=secrets.token_urlsafe(16))
    cookies = Cookies()
    answer, location = await hops.send(
        "GET", f"{row['url']}?{urlencode(envelope)}", seconds=_ANSWER_SECONDS, cookies=cookies
    )
    ran_at = (before + time.time()) / 2
    if location is not None and answer.target is Target.ECHO:
        answer, _ = await hops.send("GET", location, seconds=_ANSWER_SECONDS, cookies=cookies)
    if answer.failure is not None:
        return fail(
            check, f"no answer ({answer.failure})", "Is the address right, and the network?"
        )
    if answer.target is not None:
        advice = "Deploy as a web app, executed as its owner, open to anyone."
        return fail(check, f"redirects to {answer.target}, not to an answer", advice)
    try:
        health = json.loads(answer.body)
        kind = health["kind"]
    except (ValueError, KeyError, TypeError):
        advice = "Is Code.gs deployed there, and authorised by its owner?"
        return fail(check, f"status {answer.status}, and no answer of Code.gs", advice)
    if kind == "unsigned":
        advice = (
            f"Compare the script properties HMAC_{key.kid} and INSTANCE_NAME with {INSTANCE_KEYS} "
            f"and the name {row['name']}; a clock 300 s off looks the same."
        )
        return fail(check, "it refuses the signature", advice)
    return Pong(health, ran_at)
