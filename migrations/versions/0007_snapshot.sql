-- Moments at which patients' texts are embedded, so that a search as of then has vectors to compare. A record that
-- arrives late is embedded again at these moments.
create table ehrdb.snapshot (
    as_of   timestamp primary key check (isfinite(as_of)),
    made_at timestamptz not null default now()
);
