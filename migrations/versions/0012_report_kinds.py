"""Rows of load reports say what they are about."""

from ehrdb.schema import run_beside

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    run_beside(__file__)
