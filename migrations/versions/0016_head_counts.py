"""Heads that count codes beside the vector."""

from ehrdb.schema import run_beside

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    run_beside(__file__)
