"""`ehrdb serve`: the page."""

from __future__ import annotations

import socket
from ipaddress import ip_address
from typing import Annotated

import typer

from ehrdb.cli.common import current_database, err, not_empty, settings
from ehrdb.errors import ConfigError


def serve(
    host: Annotated[str, typer.Option(help="Address to listen at: this machine only, unless you say otherwise.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option(help="Port.", min=1, max=65535)] = 8480,
    role: Annotated[
        str | None,
        typer.Option(
            help="Everybody who has the key that is printed asks as this role; this machine only.", callback=not_empty
        ),
    ] = None,
    user_header: Annotated[
        str | None,
        typer.Option(
            help="The header in which your proxy names the user (a role); only the proxy may reach this.",
            callback=not_empty,
        ),
    ] = None,
    name: Annotated[
        list[str] | None,
        typer.Option("--name", help="A name under which browsers reach it by HTTPS; repeat it."),
    ] = None,
) -> None:
    """Serve the page: records as of any day, who is alike, what is probable.

    People sign in with their name and password of the database; each request runs with that role's rights. The
    program's own login must be a member of those roles: `grant alice to ehr_page;`. It is no medical device.

    Example: `ehrdb serve --role alice`

    Example (behind a proxy): `ehrdb serve --user-header X-Remote-User --name ehr.example.org`
    """
    if role and user_header:
        raise ConfigError("--role and --user-header exclude each other", hint="One way in.")
    if role and not _is_this_machine(host):
        raise ConfigError("--role is for this machine alone", hint="Leave out --host, or let people sign in.")
    _require_free(host, port)
    import uvicorn

    from ehrdb.page.app import make_app
    from ehrdb.page.doors import Door, HeaderDoor, KeyDoor, PasswordDoor

    with current_database() as database:
        door: Door = PasswordDoor(database)
        if role:
            with database.acting_as(role).transaction():
                door = KeyDoor(role)
            err.print(f"The key to sign in: {door.key}")
        elif user_header:
            door = HeaderDoor(user_header)
        names = [host, "localhost", *(name or [])]
        err.print(f"http://{host}:{port}/  (Ctrl-C ends it)")
        app = make_app(database, settings(), door, hosts=names, is_https=bool(name))
        # Whose address a request has is its connection's, not what its headers say.
        uvicorn.run(
            app,
            host=host,
            port=port,
            log_level="warning",
            access_log=False,
            server_header=False,
            proxy_headers=False,
        )


def _require_free(host: str, port: int) -> None:
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        socket.create_server(address, family=family).close()
    except (OSError, UnicodeError) as error:
        raise ConfigError(
            f"the page cannot be served at {host}:{port}: {getattr(error, 'strerror', None) or type(error).__name__}",
            hint="Choose another --port, or an address of this machine as --host.",
        ) from None


def _is_this_machine(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
