"""Tables of the embedding stage."""

from ehrdb.schema import run_beside

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    run_beside(__file__)
