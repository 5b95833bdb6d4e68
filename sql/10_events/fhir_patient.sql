create or replace function ehr.fhir_patient(id text) returns bigint
language plpgsql stable parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
    if id is null then
        raise exception using errcode = 'EH010', message = 'whose number? The id is null',
            hint = 'Give the id of a Patient resource: select ehr.fhir_patient(''8f3a'');';
    end if;
    -- Numbers of up to 18 digits stay what they are; those that are made have bit 62, so that no other equals one.
    return case when id ~ '^[1-9][0-9]{0,17}$' then id::bigint
                else ((('x' || encode(substr(sha256(convert_to(id, 'UTF8')), 1, 8), 'hex'))::bit(64)::bigint
                       & 4611686018427387903) | 4611686018427387904) end;
end
$$;

comment on function ehr.fhir_patient(text) is
'The patient_id of a patient whom FHIR knows by this id.
A number of up to 18 digits is itself, any other id a number made of its digest. Says nothing of whether they are loaded.
EH010: no id.
Example: select ehr.timeline(ehr.fhir_patient(''f44fe3a9-2b0c-4b31-8e0e-9e5a4a7d2f11''));';
