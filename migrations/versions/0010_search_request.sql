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
