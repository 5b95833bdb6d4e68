create or replace function ehrdb.ask_worker(query text, encoder text) returns bigint
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    for_encoder_id constant integer := ehrdb.encoder_id(encoder);
    asked bigint;
begin
    if coalesce(query, '') !~ '\S' then
        raise exception using errcode = 'EH010', message = 'the query is empty', hint = 'Describe a patient in words.';
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
    delete from ehrdb.search_request r where r.asked_at < now() - interval '1 hour';
    insert into ehrdb.search_request (encoder_id, query) values (for_encoder_id, query) returning request_id into asked;
    perform pg_notify('ehrdb_search', '');
    return asked;
end
$$;

comment on function ehrdb.ask_worker(text, text) is
'Leaves a text for a worker to embed and wakes one. Returns the request. EH008: no worker is connected.';
