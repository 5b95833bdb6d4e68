"""Why a member of a cohort has no probability as of a past moment."""

from ehrdb.schema import run_beside

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    run_beside(__file__)
