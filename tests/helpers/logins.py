"""ChatGPT logins that are renewed by a token which can be used once, a server that does so, and a codex that asks it.

The server is one for `real.responses_server.serve`, so that the real codex can be pointed at it as well as the fake.
"""

from __future__ import annotations

import base64
import json
import threading
from dataclasses import dataclass, field
from time import time
from typing import Any

from real import responses_server as rs


def web_token(**claims: Any) -> str:
    """Return a JSON Web Token with these claims and no real signature."""
    parts = ({"alg": "none", "typ": "JWT"}, claims, "signature")
    return ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts)


def login(number: int, ends_in: float | None, **fields: Any) -> dict[str, Any]:
    """Return the content of `auth.json` for the login of this number, counted by its renewals."""
    account = {"chatgpt_account_id": "account", "chatgpt_plan_type": "plus", "chatgpt_user_id": "user"}
    claims: dict[str, Any] = {"email": "a@example.org", "https://api.openai.com/auth": account, "number": number}
    if ends_in is not None:
        claims["exp"] = int(time() + ends_in)
    token = web_token(**claims)
    tokens = {
        "id_token": token, "access_token": token, "refresh_token": refresh_token(number), "account_id": "account",
    }  # fmt: skip
    return {"auth_mode": "chatgpt", "OPENAI_API_KEY": None, "tokens": tokens, "last_refresh": "2026-01-01T00:00:00Z",
            **fields}  # fmt: skip


def refresh_token(number: int) -> str:
    """Return the token that renews the login of this number."""
    return f"refresh-token-of-login-{number:04d}"


@dataclass
class LoginServer:
    """Renews logins at `/oauth/token` and answers whoever has the newest; each refresh token is taken once.

    Args:
        refuses_first: Whether the first login is refused although its token seems good.
        delay: Seconds that a renewal takes.
    """

    refuses_first: bool = False
    delay: float = 0.0
    number: int = 1
    asked: threading.Event = field(default_factory=threading.Event)
    """Set when a renewal is asked for."""
    renewals: list[bool] = field(default_factory=list)
    """What was asked of the token endpoint; False: the token had been used."""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, exchange: rs.Exchange) -> None:
        """Behave so for one request."""
        if exchange.seen.path.endswith("/oauth/token"):
            self._renew(exchange)
            return
        number = _number(exchange.seen.headers)
        if number != self.number or (number == 1 and self.refuses_first):
            exchange.reply(401, {"error": {"code": "token_expired", "message": "token expired"}})
        else:
            rs.answer("hello")(exchange)

    def _renew(self, exchange: rs.Exchange) -> None:
        self.asked.set()
        threading.Event().wait(self.delay)
        with self.lock:
            is_good = exchange.seen.body.get("refresh_token") == refresh_token(self.number)
            self.renewals.append(is_good)
            self.number += is_good
            tokens = login(self.number, 3600)["tokens"]
        if is_good:
            exchange.reply(200, tokens)
        else:
            exchange.reply(401, {"error": {"code": "refresh_token_reused", "message": "already used"}})


def _number(headers: Any) -> int | None:
    found = {name.lower(): value for name, value in headers.items()}.get("authorization", "")
    try:
        payload = found.removeprefix("Bearer ").split(".")[1]
        number: int = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))["number"]
    except (LookupError, ValueError):
        return None
    return number


ASKS_WITH_LOGIN = """
import base64, urllib.error, urllib.request
auth = Path(os.environ["CODEX_HOME"]) / "auth.json"
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

def post(path, body, token):
    data = json.dumps(body).encode()
    headers = {"Content-Type": "application/json", "Authorization": "Bearer " + token}
    try:
        with opener.open(urllib.request.Request(URL + path, data, headers)) as answer:
            return answer.read()
    except urllib.error.HTTPError:
        return None

def tokens():
    return json.loads(auth.read_text())["tokens"]

def renewed():
    body = {"grant_type": "refresh_token", "refresh_token": tokens()["refresh_token"]}
    answer = post("/oauth/token", body, "none")
    if answer is None:
        return False
    login = json.loads(auth.read_text())
    login["tokens"].update(json.loads(answer))
    new = auth.with_name("auth.new")
    new.write_text(json.dumps(login))
    new.replace(auth)
    return True

payload = tokens()["access_token"].split(".")[1]
if json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))["exp"] < time.time() + 300:
    renewed()
used = tokens()
if post("/responses", {}, used["access_token"]) is None:
    is_other = tokens() != used  # somebody else has renewed it
    if not (is_other or renewed()) or post("/responses", {}, tokens()["access_token"]) is None:
        text = "Your access token could not be refreshed because your refresh token was already used."
        for event in ({"type": "turn.started"}, {"type": "turn.failed", "error": {"message": text}}):
            print(json.dumps(event), flush=True)
        sys.exit(1)
"""
"""Code for the fake codex: renew the login when it is due or refused, as codex does; fail if that is refused too."""
