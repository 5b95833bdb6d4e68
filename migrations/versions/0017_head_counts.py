"""Heads that count codes beside the vector."""

from ehrdb.schema import run_beside

revision = "0017"
down_revision = "0016"


def upgrade() -> None:
    run_beside(__file__)
