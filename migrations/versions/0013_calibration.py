"""Calibration along a curve, its bounds, and how common the outcome is."""

from ehrdb.schema import run_beside

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    run_beside(__file__)
