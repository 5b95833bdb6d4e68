create or replace function ehrdb.raise_no_embedding(patient_id bigint, as_of timestamp, reason text) returns void
language plpgsql stable parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
    perform ehrdb.require_patient(patient_id);
    raise exception using errcode = 'EH004',
        message = format('patient %s has no embedding as of %s: %s', patient_id, as_of, reason),
        hint = case when reason <> 'not embedded as of then' then 'Choose a later moment, or leave as_of out.'
               when as_of = 'infinity' then 'Run `ehrdb refresh`.'
               else format('Run `ehrdb refresh --as-of "%s" --cohort "select %s"`.', as_of, patient_id) end;
end
$$;

comment on function ehrdb.raise_no_embedding(bigint, timestamp, text) is
'Says why there is no vector of the record as of a moment: EH001 unknown patient, EH004 none.';
