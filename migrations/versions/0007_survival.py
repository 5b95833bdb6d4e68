"""Tasks that ask when, not whether alone."""

from ehrdb.schema import run_beside

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    run_beside(__file__)
