"""`/functions/v1/<name>`: Edge Functions, with `verify_jwt` enforced as hosted projects enforce it.

No project key is asked for: whoever may call a function is the function's own affair once
`verify_jwt = false`. With `verify_jwt` (the default) the caller brings a JWT in `Authorization`. A
publishable or secret key is not a JWT and is refused here because it would be when deployed.
"""

import tomllib
from pathlib import Path

from aiohttp import web
from yarl import URL

from .cors import FROM_FUNCTION
from .errors import GatewayError, UpstreamError
from .keys import bearer_token
from .proxy import forward
from .tokens import TokenError, verify

PREFIX = "/functions/v1"


class FunctionsRoute:
    """Where functions are served, and which of them verify their caller's token."""

    def __init__(self, origin: str, functions_dir: Path | None, jwt_secret: str) -> None:
        self._origin = origin.rstrip("/")
        self._config_toml = functions_dir.parent / "config.toml" if functions_dir else None
        self._jwt_secret = jwt_secret

    async def handle(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info["name"]
        # A preflight never carries a token; the function answers it.
        if request.method != "OPTIONS" and self.verifies_jwt(name):
            self._check_token(request)
        target = self._origin + request.rel_url.raw_path_qs.removeprefix(PREFIX)
        request[FROM_FUNCTION] = True
        try:
            response = await forward(
                request, URL(target, encoded=True), part="functions host", headers={}
            )
        except UpstreamError as error:
            request[FROM_FUNCTION] = False
            # By this header Supabase clients tell a failed relay from a function's own error.
            error.headers = {"x-relay-error": "true"}
            raise
        return response

    def verifies_jwt(self, name: str) -> bool:
        """`[functions.<name>] verify_jwt` of supabase/config.toml as it is now; true by default."""
        if self._config_toml is None or not self._config_toml.is_file():
            return True
        functions = tomllib.loads(self._config_toml.read_text("utf-8")).get("functions", {})
        return functions.get(name, {}).get("verify_jwt", True) is not False

    def _check_token(self, request: web.Request) -> None:
        token = bearer_token(request.headers.get("Authorization"))
        if token is None:
            raise _unauthorized("UNAUTHORIZED_NO_AUTH_HEADER", "Missing authorization header")
        if token.startswith("sb_"):
            raise _unauthorized(
                "UNAUTHORIZED_INVALID_JWT_FORMAT",
                "Invalid JWT: a publishable or secret key is not one. Send a user's access token, "
                "or set verify_jwt = false for this function and check the key in it",
            )
        try:
            verify(token, self._jwt_secret)
        except TokenError as error:
            raise _unauthorized("UNAUTHORIZED_INVALID_JWT", f"Invalid JWT: {error}") from error


def _unauthorized(code: str, message: str) -> GatewayError:
    return GatewayError(401, {"code": code, "message": message})
