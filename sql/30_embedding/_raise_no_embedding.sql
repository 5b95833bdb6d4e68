create or replace function ehrdb.raise_no_embedding(patient_id bigint, as_of timestamp) returns void
language plpgsql stable parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
    perform ehrdb.require_patient(patient_id);
    raise exception using errcode = 'EH004',
        message = format('patient %s has no embedding as of %s', patient_id, as_of),
        hint = case when as_of = 'infinity' then 'Run `ehrdb refresh`.'
               else format('Make a snapshot: ehrdb refresh --as-of "%s".', as_of) end;
end
$$;

comment on function ehrdb.raise_no_embedding(bigint, timestamp) is
'Says why there is no vector: EH001 unknown patient, EH004 not embedded by that time.';
