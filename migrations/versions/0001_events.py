"""Tables of the events stage."""

from ehrdb.schema import run_beside

revision = "0001"
down_revision = None


def upgrade() -> None:
    run_beside(__file__)
