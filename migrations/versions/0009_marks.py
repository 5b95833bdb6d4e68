"""Marks of changed patients become a log: writers never wait for a refresh, nor a refresh for them."""

from ehrdb.schema import run_beside

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    run_beside(__file__)
