create or replace function ehrdb.require_patient(patient_id bigint) returns void
language plpgsql stable parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
    if not exists (select from ehrdb.patient p where p.patient_id = require_patient.patient_id) then
        raise exception using errcode = 'EH001', message = pg_catalog.format('unknown patient %s', patient_id),
            hint = 'See: select patient_id from ehr.patient;';
    end if;
end
$$;

comment on function ehrdb.require_patient(bigint) is 'EH001 for a patient who is not there.';
