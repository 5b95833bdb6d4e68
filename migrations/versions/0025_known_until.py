"""One word for the moment that was asked about, another for the moment up to which a vector knows the record."""

from ehrdb.schema import run_beside

revision = "0025"
down_revision = "0020"


def upgrade() -> None:
    run_beside(__file__)
