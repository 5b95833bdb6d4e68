"""How a question in words leaves a transaction that is still open."""

from ehrdb.schema import run_beside

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    run_beside(__file__)
