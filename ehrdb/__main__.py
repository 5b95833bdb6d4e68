"""`python -m ehrdb`."""

from ehrdb.cli import main

main()
