"""Two more ways to write a blood count."""

from ehrdb.schema import run_beside

revision = "0020"
down_revision = "0019"


def upgrade() -> None:
    run_beside(__file__)
