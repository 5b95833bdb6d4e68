"""Predictions kept for dashboards; many heads in one pass."""

from ehrdb.schema import run_beside

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    run_beside(__file__)
