"""Who has given the key: a cookie stands for it, so that it is in no address and no script."""

from __future__ import annotations

import hmac
import secrets
import time
from collections import OrderedDict
from html import escape
from http.cookies import CookieError, SimpleCookie
from string import Template
from urllib.parse import parse_qs

COOKIE = "videollama2_page"
_KEPT_S = 12 * 3600.0
_MOST = 4096

_FORM = Template("""<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>VideoLLaMA 2</title><style>
:root { color-scheme: light dark; --accent: #0f766e; }
body { margin: 0; min-height: 100dvh; display: grid; place-items: center;
  font: 16px/1.5 system-ui, sans-serif; }
form { width: min(22rem, 88vw); display: grid; gap: .8rem; }
h1 { font-size: 1.4rem; font-weight: 650; margin: 0; }
p { margin: 0; opacity: .75; }
input, button { font: inherit; padding: .65rem .8rem; border-radius: .6rem; }
input { border: 1px solid #94a3b8; }
button { border: 0; background: var(--accent); color: white; cursor: pointer; }
.wrong { color: #b91c1c; opacity: 1; }
</style></head><body><form method="post" action="login">
<h1>VideoLLaMA 2</h1><p>This server asks for its key.</p>
<input type="password" name="key" placeholder="Key" aria-label="Key" autocomplete="current-password"
 autofocus required>$said
<button>Enter</button></form></body></html>
""")


def form(said: str = "") -> bytes:
    """The page that asks for the key; `said` is what was wrong with the last one."""
    wrong = f'<p class="wrong" role="alert">{escape(said)}</p>' if said else ""
    return _FORM.substitute(said=wrong).encode()


class Logins:
    """Cookies that were given out for the key. Lives in the event loop's thread."""

    def __init__(self, key: str) -> None:
        self._key = key.encode()
        self._until: OrderedDict[str, float] = OrderedDict()

    def enter(self, body: bytes) -> str | None:
        """A new cookie for a form that holds the key; None where it is another."""
        given = parse_qs(body.decode("utf-8", "replace"), max_num_fields=4).get("key", [""])[0]
        if not hmac.compare_digest(given.encode(), self._key):
            return None
        token = secrets.token_urlsafe(32)
        self._until[token] = time.monotonic() + _KEPT_S
        while len(self._until) > _MOST:
            self._until.popitem(last=False)
        return token

    def knows(self, header: str) -> bool:
        """Whether a request's cookies hold one that was given out."""
        try:
            found = SimpleCookie(header).get(COOKIE)
        except CookieError:
            return False
        if found is None or len(found.value) > 100:
            return False
        until = self._until.get(found.value)
        return until is not None and time.monotonic() < until


def cookie(token: str, *, secure: bool) -> str:
    """The header's value: for this server alone, out of reach of scripts and other sites."""
    tail = "; Secure" if secure else ""
    return f"{COOKIE}={token}; Path=/; HttpOnly; SameSite=Strict; Max-Age={int(_KEPT_S)}{tail}"
