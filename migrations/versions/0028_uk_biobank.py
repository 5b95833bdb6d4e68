"""The format of the paper's UK Biobank study."""

from ehrdb.schema import run_beside

revision = "0028"
down_revision = "0027"


def upgrade() -> None:
    run_beside(__file__)
