"""How heads do month by month."""

from ehrdb.schema import run_beside

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    run_beside(__file__)
