"""What the logs must never hold: keys, tokens, passwords, bodies and filters."""

import aiohttp
import psycopg

from flowstate_local import LocalStack, StackInfo

from .conftest import PASSWORD, SignUp
from .phoenix import phoenix
from .waiting import soon

CANARY = "canary-7f3a"


async def test_logs_hold_no_key_token_or_content(
    stack: LocalStack,
    info: StackInfo,
    http: aiohttp.ClientSession,
    sign_up: SignUp,
    database: psycopg.Connection,
) -> None:
    person = await sign_up()
    headers = {"apikey": info.publishable_key, "Authorization": f"Bearer {person.access_token}"}
    note = {"body": CANARY}
    rest = f"{info.api_url}/rest/v1/notes"
    await (await http.post(rest, json=note, headers=headers)).read()
    await (await http.get(f"{rest}?body=eq.{CANARY}", headers=headers)).read()
    await (await http.get(f"{rest}?apikey={info.secret_key}")).read()
    for method, path in (("post", "token?grant_type=password"), ("put", "user")):
        wrong = {"email": f"{CANARY}@example.com", "password": CANARY, "data": CANARY}
        url = f"{info.api_url}/auth/v1/{path}"
        await (await http.request(method, url, json=wrong, headers=headers)).read()
    name = f"room:{person.id}"
    async with phoenix(http, info, "1.0.0") as socket:
        await socket.join(name, private=True, token=person.access_token)
        await socket.send(f"realtime:{name}", "broadcast", {"event": CANARY, "payload": note})
        await socket.send(f"realtime:{name}", "access_token", {"access_token": CANARY})
        database.execute("notify realtime_messages, 'canary-7f3a is no JSON'")
        await socket.receive()
        await socket.socket.send_str(f"{CANARY} is no JSON")
        while not socket.socket.closed:
            await soon(socket.socket.receive())
    await (await http.get(info.api_url + "/functions/v1/health-checker")).read()

    secrets = [
        CANARY,
        PASSWORD,
        person.access_token,
        person.refresh_token,
        person.email,
        info.publishable_key,
        info.secret_key,
        info.anon_key,
        info.service_role_key,
        info.jwt_secret,
    ]
    for part in ("gateway", "functions"):
        text = stack.log(part).read_text()
        found = [number for number, secret in enumerate(secrets) if secret in text]
        assert found == [], f"{part}'s log holds secrets number {found}"
    assert "POST /rest/v1/notes 201" in stack.log("gateway").read_text()
