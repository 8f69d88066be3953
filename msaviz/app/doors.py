"""Who comes through which door of the live page? Nobody without the token, not even for a style sheet."""

from __future__ import annotations

import secrets
from typing import Any

from jupyter_server.base.handlers import JupyterHandler  # whoever imports this module serves the page
from tornado.web import RequestHandler, StaticFileHandler, authenticated
from voila.voila_identity_provider import VoilaIdentityProvider

HEADERS = {"X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Referrer-Policy": "no-referrer"}
"""Of every answer: it is what it says, stands in nobody's frame, and tells nobody its address, which may hold the token."""
COOKIE = {"SameSite": "Strict"}
"""No page of others makes a browser show that it was let in."""


class Doorman(VoilaIdentityProvider):
    """Knows a visitor by the token alone, in an address, a header or the form; how long the look takes tells nothing of it."""

    def get_token(self, handler: Any) -> str | None:
        """The visitor's token, if it is the right one."""
        return self._right(super().get_token(handler))

    def process_login_form(self, handler: Any) -> Any:
        """Who fills in the form; None without the token."""
        given = self._right(handler.get_argument("password", default=""))
        return self.generate_anonymous_user(handler) if given else None

    def _right(self, given: str | None) -> str | None:
        return self.token if given and secrets.compare_digest(given.encode(), self.token.encode()) else None


def closed(rule: tuple) -> tuple:
    """A rule of tornado's (pattern, handler, ...) whose files are for those with the token too."""
    pattern, handler, *more = rule
    if not issubclass(handler, StaticFileHandler):
        return rule
    bases = (handler,) if issubclass(handler, JupyterHandler) else (JupyterHandler, handler)

    class Closed(*bases):
        @authenticated
        async def get(self, *args: Any, **options: Any) -> None:
            await handler.get(self, *args, **options)

        @authenticated
        async def head(self, path: str) -> None:
            await handler.get(self, path, include_body=False)

        def write_error(self, status_code: int, **about: Any) -> None:
            RequestHandler.write_error(self, status_code, **about)  # Jupyter's own page of errors is not installed with Voilà

    return (pattern, Closed, *more)
