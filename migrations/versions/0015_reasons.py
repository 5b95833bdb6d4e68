"""What moves a probability, kept by content."""

from ehrdb.schema import run_beside

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    run_beside(__file__)
