"""What operators ask: how did the last run end, how fast does it go, how much was cut off."""

from ehrdb.schema import run_beside

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    run_beside(__file__)
