"""Which concepts explain a likeness, kept beside how rare they are."""

from ehrdb.schema import run_beside

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    run_beside(__file__)
