"""What each source last loaded, so that the same files are not read into the database twice."""

from ehrdb.schema import run_beside

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    run_beside(__file__)
