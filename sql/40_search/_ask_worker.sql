create or replace function ehrdb.ask_worker(query text, encoder text) returns uuid
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set row_security = off
as $$
declare
    for_encoder_id constant integer := ehrdb.require_question(query, encoder);
    most_open constant integer := 5;
    asked uuid;
begin
    -- A session waits for one answer at a time: what it asked before, it has given up.
    delete from ehrdb.search_request r
     where r.asker_pid = pg_backend_pid()
        or not exists (select from pg_stat_activity a where a.pid = r.asker_pid and a.usename = r.asked_by);
    if (select count(*) from ehrdb.search_request r
         where r.asked_by = session_user and r.embedding is null and r.error is null) >= most_open then
        raise exception using errcode = 'EH008', message = format('you are waiting for %s answers already', most_open),
            hint = 'Wait for one of them.';
    end if;
    insert into ehrdb.search_request (encoder_id, query) values (for_encoder_id, query) returning request_id into asked;
    perform ehrdb.record('ehr.search_text');
    perform pg_notify('ehrdb_search', '');
    return asked;
end
$$;

comment on function ehrdb.ask_worker(text, text) is
'Leaves a text for a worker to embed and wakes one. Returns the request, a random one that only the asker can redeem.
EH008: no worker is connected, or the user is waiting for five answers; EH010: the text is empty or too long.';
