create or replace function ehrdb.ask_worker(query text, encoder text) returns uuid
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set row_security = off
as $$
declare
    for_encoder_id constant integer := ehrdb.encoder_id(encoder);
    most_characters constant integer := 8000;
    most_open constant integer := 5;
    asked uuid;
begin
    if coalesce(query, '') !~ '\S' then
        raise exception using errcode = 'EH010', message = 'the query is empty', hint = 'Describe a patient in words.';
    elsif length(query) > most_characters then
        raise exception using errcode = 'EH010',
            message = format('the query has %s characters, more than %s', length(query), most_characters),
            hint = 'Describe a patient in some sentences.';
    end if;
    if (select n.kind <> 'model' from ehrdb.encoder n where n.encoder_id = for_encoder_id) then
        raise exception using errcode = 'EH003', message = 'this encoder has no model that could read a text',
            hint = 'See: select name, kind from ehr.encoder;';
    end if;
    if not exists (select from pg_stat_activity a
                    where a.datname = current_database() and a.application_name = 'ehrdb worker') then
        raise exception using errcode = 'EH008', message = 'no worker is running that could read the text',
            hint = 'Start `ehrdb worker`, or ask from a shell: ehrdb search "...".';
    end if;
    -- A session waits for one answer at a time: what it asked before, it has given up.
    delete from ehrdb.search_request r
     where r.asker_pid = pg_backend_pid()
        or not exists (select from pg_stat_activity a where a.pid = r.asker_pid and a.usename = r.asked_by);
    if (select count(*) from ehrdb.search_request r where r.asked_by = session_user) >= most_open then
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
