"""Who is asking: the ways in to the page. Whoever came in is a role of the database, whose rights decide."""

from __future__ import annotations

import secrets
from dataclasses import dataclass

import psycopg
from psycopg.conninfo import make_conninfo
from starlette.requests import Request

from ehrdb.database import LONGEST_NAME, Database
from ehrdb.errors import DatabaseUnavailable, NotAllowed


class Door:
    """A way in. `asks_name` and `asks_secret`: what the sign-in form asks for."""

    asks_name = asks_secret = True
    hint = ""

    def role(self, request: Request) -> str | None:
        """Whom the request itself proves to be its sender; None for who has to sign in."""
        return None

    def admit(self, name: str, secret: str) -> str:
        """The role of who shows this. Raises NotAllowed."""
        raise NotImplementedError


@dataclass
class PasswordDoor(Door):
    """The server itself tries a role's name and password; neither is kept."""

    database: Database
    hint = "Your name and password of the database."

    def admit(self, name: str, secret: str) -> str:
        """The role that PostgreSQL lets in with this password.

        An empty one is never tried: libpq would put in this program's own (PGPASSWORD, .pgpass), and its user's name.
        """
        # PostgreSQL would cut a longer name, and let in somebody else than who is noted.
        if not (name and secret) or len(name.encode()) > LONGEST_NAME or "\0" in name + secret:
            raise NotAllowed("name or password is wrong", hint="Try again.")
        try:
            url = make_conninfo(self.database.url, user=name, password=secret, connect_timeout=5)
            with psycopg.connect(url, application_name="ehrdb serve: sign-in") as connection:
                checked = connection.pgconn.used_password
        except psycopg.OperationalError as error:
            if "password authentication failed" in str(error) or "does not exist" in str(error):
                raise NotAllowed("name or password is wrong", hint="Try again.") from None
            raise DatabaseUnavailable("the database lets nobody in just now", hint="Try again later.") from None
        except psycopg.Error:
            raise NotAllowed("name or password is wrong", hint="Try again.") from None
        if not checked:
            raise NotAllowed(
                "this server lets people in without a password, so it proves nothing",
                hint="On a machine of your own: ehrdb serve --role NAME. Else: scram-sha-256 in pg_hba.conf.",
            )
        return name


class KeyDoor(Door):
    """One role, for who started the program: it printed a key."""

    asks_name = False
    hint = "The key that `ehrdb serve` printed."

    def __init__(self, role: str) -> None:
        self._role, self.key = role, secrets.token_urlsafe(12)

    def admit(self, name: str, secret: str) -> str:
        """The one role."""
        if not secrets.compare_digest(secret.encode(), self.key.encode()):
            raise NotAllowed("that is not the key", hint="`ehrdb serve` printed it where it was started.")
        return self._role


class HeaderDoor(Door):
    """A proxy has found out who it is, and says so in a header; only the proxy may reach this."""

    asks_name = asks_secret = False

    def __init__(self, header: str) -> None:
        self._header = header

    def role(self, request: Request) -> str | None:
        """Whom the proxy names."""
        named = request.headers.getlist(self._header)
        return named[0] if len(named) == 1 and named[0] else None

    def admit(self, name: str, secret: str) -> str:
        """Nobody: the proxy does it."""
        raise NotAllowed("the proxy signs people in", hint="Come in by the proxy's address.")
