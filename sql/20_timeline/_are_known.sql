create or replace function ehrdb.are_known(variadic patient_ids bigint[]) returns boolean
language plpgsql stable parallel safe
set search_path = pg_catalog, pg_temp
as $$
declare
    patient_id bigint;
begin
    foreach patient_id in array patient_ids loop
        perform ehrdb.require_patient(patient_id);
    end loop;
    return true;
end
$$;

comment on function ehrdb.are_known(bigint[]) is 'True; EH001 for the first patient who is not there.';
