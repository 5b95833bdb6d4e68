"""Concatenations of any number of parts."""

from ehrdb.schema import run_beside

revision = "0018"
down_revision = "0017"


def upgrade() -> None:
    run_beside(__file__)
