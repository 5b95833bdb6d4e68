create or replace function ehrdb.require_question(query text, encoder text) returns integer
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
    for_encoder_id constant integer := ehrdb.encoder_id(encoder);
    most_characters constant integer := 8000;
begin
    perform ehrdb.require_primary();
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
    return for_encoder_id;
end
$$;

comment on function ehrdb.require_question(text, text) is
'The encoder that is to read a text. EH008: no worker is connected; EH010: the text is empty or too long, or
the server a standby.';
