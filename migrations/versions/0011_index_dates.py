"""Moments of patients' own that are kept embedded."""

from ehrdb.schema import run_beside

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    run_beside(__file__)
