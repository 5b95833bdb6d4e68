create or replace function ehrdb.require_primary() returns boolean
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
    if pg_is_in_recovery() then
        raise exception using errcode = 'EH010', message = 'this server is a standby, which can be told nothing',
            hint = 'Ask the primary server. What only reads is answered here, too: ehr.nearest_patients, ehr.predict, '
                   'ehr.patients_by_words, ...';
    end if;
    return true;
end
$$;

comment on function ehrdb.require_primary() is
'True where something can be written. EH010: this server is a standby.';
