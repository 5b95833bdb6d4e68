"""Texts that told of an end before it was known."""

from ehrdb.schema import run_beside

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    run_beside(__file__)
