"""Snapshots: moments at which everybody's text is embedded."""

from ehrdb.schema import run_beside

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    run_beside(__file__)
