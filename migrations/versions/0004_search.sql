-- Search: what answers look like, and questions on their way to a worker.

-- What a search returns. Named, because a function may not call an argument and a result column alike.
create type ehrdb.neighbour as (
    rank integer, patient_id bigint, similarity float8, as_of timestamp, is_stale boolean
);

-- A question in words on its way to a worker; gone once it is answered. Nobody but the owner may read it.
create table ehrdb.search_request (
    request_id bigint generated always as identity primary key,
    encoder_id integer not null references ehrdb.encoder on delete cascade,
    query      text not null,
    asked_at   timestamptz not null default clock_timestamp(),
    taken_at   timestamptz,
    embedding  public.vector,
    error      text
);
