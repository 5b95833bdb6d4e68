"""What only a superuser can do for ehrdb: whether it is done, and the SQL that does it."""

from __future__ import annotations

import re
from dataclasses import dataclass

import psycopg
from psycopg import sql

from ehrdb.database import Connection
from ehrdb.errors import ConfigError, DatabaseError
from ehrdb.queries import Queries

MINIMUM_SERVER = 150_000
LONGEST_NAME = 63
_queries = Queries("ehrdb", "bootstrap.sql")


@dataclass(frozen=True)
class Standing:
    """What this role finds in this database.

    Attributes:
        role: who asks; `database` is where.
        extension_schema: where the extension vector lives; None where it is not installed.
        can_use: whether the role may use that schema.
        is_available: whether the server has pgvector's files at all.
        can_create_extension: whether PostgreSQL would let the role create the extension (a provider may, even so).
        can_create_schemas: whether the role may make schemas here.
        owner: who owns the schema ehrdb; None where there is none.
        is_owner: whether the role owns it, or is a member of who does.
        can_create_role: whether it may make the roles of readers, workers and administrators.
    """

    role: str
    database: str
    extension_schema: str | None
    can_use: bool
    is_available: bool
    can_create_extension: bool
    can_create_schemas: bool
    owner: str | None
    is_owner: bool
    can_create_role: bool


def standing(connection: Connection) -> Standing:
    """What the connection's role finds, from the catalogues alone."""
    row = connection.execute(_queries.standing).fetchone()
    assert row is not None
    return Standing(*row)


def bootstrap_sql(owner: str, database: str, schema: str = "public", roles: str = "ehr") -> str:
    """The statements that a superuser runs once in `database`, so that `owner`, an ordinary role, can do the rest.

    `schema` is where the extension vector is to live, if it is not there yet. The names of the three roles begin with
    `roles`: databases of one server that are not to share readers need different ones.
    """
    require_roles(roles)
    for name in (owner, database, schema):
        if not (name and name.isprintable() and len(name.encode()) <= LONGEST_NAME):
            raise ConfigError(f"{name!r:.80} is no name in PostgreSQL", hint="1 to 63 bytes that can be printed.")
    known = {"owner": owner, **{duty: f"{roles}_{duty}" for duty in ("analyst", "worker", "admin")}}
    names: dict[str, sql.Composable] = {name: sql.Identifier(value) for name, value in known.items()}
    names |= {f"{name}_name": sql.Literal(value) for name, value in known.items()}
    names |= {"database": sql.Identifier(database), "schema": sql.Identifier(schema)}
    return sql.SQL(_queries.bootstrap.decode()).format(**names).as_string() + "\n"


def citus_sql() -> str:
    """The statements by which an owner distributes ehrdb over the nodes of Citus, by patient."""
    return _queries.citus.decode() + "\n"


def require_roles(prefix: str) -> None:
    """Raise ConfigError for what the roles' names cannot begin with."""
    if not re.fullmatch("[a-z_][a-z0-9_]{0,49}", prefix):
        raise ConfigError(
            f"the names of roles cannot begin with {prefix!r:.80}", hint="a to z, 0 to 9 and _, at most 50: ward7"
        )


def require_server(connection: Connection) -> None:
    """Raise DatabaseError where the server or this role's rights do not suffice, with who must run what."""
    version = connection.info.server_version
    if version < MINIMUM_SERVER:
        raise DatabaseError(
            f"the server is PostgreSQL {version // 10_000}; ehrdb needs 15 or later",
            hint="Upgrade the server or point EHRDB_DATABASE_URL at another.",
        )
    for fault in faults(standing(connection), version):
        raise fault


def faults(found: Standing, version: int) -> list[DatabaseError]:
    """Everything that a superuser must see to before ehrdb can be installed or upgraded, each with its SQL."""
    dba = f"As a superuser, in database {found.database}:"
    checks = [
        (
            found.extension_schema is None and not found.is_available,
            "the server has no pgvector",
            f"On the server, as its administrator, install pgvector (Debian: postgresql-{version // 10_000}-pgvector; "
            "RDS, Cloud SQL, Azure and Supabase have it). Then `ehrdb sql bootstrap` says what comes next.",
        ),
        (
            found.extension_schema is not None and not found.can_use,
            f"{found.role} may not use schema {found.extension_schema}, where the extension vector lives",
            f"{dba} {_grant('usage on schema', found.extension_schema or '', found.role)}",
        ),
        (
            found.owner is None and not found.can_create_schemas,
            f"{found.role} may not create schemas in database {found.database}",
            f"{dba} {_grant('create on database', found.database, found.role)}",
        ),
        (
            not found.is_owner,
            f"ehrdb belongs to {found.owner} here, not to {found.role}",
            f"Run this as {found.owner}.",
        ),
    ]
    return [DatabaseError(message, hint=hint) for is_wrong, message, hint in checks if is_wrong]


def create_extension(connection: Connection) -> None:
    """Create the extension vector where it is missing. Whether that is allowed is the server's to say: providers
    let more roles do it than PostgreSQL itself. Raises DatabaseError with the SQL for a superuser."""
    found = standing(connection)
    if found.extension_schema is not None:
        return
    try:
        with connection.transaction():
            connection.execute(_queries.create_extension)
    except psycopg.errors.InsufficientPrivilege:
        raise DatabaseError(
            f"{found.role} may not create the extension vector, which PostgreSQL leaves to superusers",
            hint=f"As a superuser, in database {found.database}: create extension vector;  "
            "(all that a superuser must run: `ehrdb sql bootstrap`)",
        ) from None


def _grant(right: str, on: str, role: str) -> str:
    statement = sql.SQL("grant {} {} to {};").format(sql.SQL(right), sql.Identifier(on), sql.Identifier(role))
    return statement.as_string()
