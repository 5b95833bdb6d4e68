"""What a source's rows of each patient were at the last load."""

from ehrdb.schema import run_beside

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    run_beside(__file__)
