"""Calibration along a curve, its bounds, and how common the outcome is."""

from ehrdb.schema import run_beside

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    run_beside(__file__)
