"""Vectors are found by their patient on every server."""

from ehrdb.schema import run_beside

revision = "0019"
down_revision = "0018"


def upgrade() -> None:
    run_beside(__file__)
