"""The page (`ehrdb serve`): the record, who is alike, and what is probable, to read in a browser. Read-only."""
