"""What evaluations found may be kept."""

from ehrdb.schema import run_beside

revision = "0027"
down_revision = "0026"


def upgrade() -> None:
    run_beside(__file__)
