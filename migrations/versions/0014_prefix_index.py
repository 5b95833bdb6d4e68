"""Matryoshka encoders of many dimensions are indexed by their first ones."""

from ehrdb.schema import run_beside

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    run_beside(__file__)
