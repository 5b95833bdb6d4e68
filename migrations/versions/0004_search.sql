-- Search: what answers look like, and questions on their way to a worker.

-- What a search returns. Named, because a function may not call an argument and a result column alike.
create type ehrdb.neighbour as (
    rank integer, patient_id bigint, similarity float8, as_of timestamp, is_stale boolean
);

-- A question in words on its way to a worker; gone once it is answered, or when the session that asked is. Nobody but
-- the owner and the worker may read it. Unlogged: in no write-ahead log, no standby, and empty after a crash.
create unlogged table ehrdb.search_request (
    request_id uuid primary key default gen_random_uuid(),
    encoder_id integer not null references ehrdb.encoder on delete cascade,
    asked_by   name not null default session_user,
    asker_pid  integer not null default pg_backend_pid(),
    query      text not null check (length(query) <= 8000),
    asked_at   timestamptz not null default clock_timestamp(),
    taken_at   timestamptz,
    embedding  public.vector,
    error      text
);
