"""What keeps a purge waiting is a table of its own."""

from ehrdb.schema import run_beside

revision = "0026"
down_revision = "0025"


def upgrade() -> None:
    run_beside(__file__)
