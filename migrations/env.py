"""Runs migrations on the connection that `ehrdb.schema.upgrade` hands over, inside its transaction."""

from alembic import context

context.configure(
    connection=context.config.attributes["connection"],
    version_table_schema="ehrdb",
    version_table="migration",
)
context.run_migrations()
