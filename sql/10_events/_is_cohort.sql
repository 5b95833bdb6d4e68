create or replace function ehrdb.is_cohort(cohort bigint[], may_be_unknown boolean default false) returns boolean
language plpgsql stable parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
    if array_ndims(cohort) > 1 then
        raise exception using errcode = 'EH010', message = 'the cohort is a table of numbers, not a list',
            hint = 'For example: array[1, 2, 3], or array(select patient_id from ehr.patient).';
    elsif array_position(cohort, null) is not null then
        raise exception using errcode = 'EH010', message = 'the cohort holds a null',
            hint = 'Leave it out: array(select patient_id from ... where patient_id is not null).';
    elsif cardinality(cohort) > 0 and not may_be_unknown and not exists (select from ehrdb.patient p where p.patient_id = any (cohort)) then
        raise exception using errcode = 'EH001', message = 'nobody in the cohort is a patient here',
            hint = 'See: select patient_id from ehr.patient;';
    end if;
    return true;
end
$$;

comment on function ehrdb.is_cohort(bigint[], boolean) is
'True, for null (everybody) and for an empty one as well; EH010 where it holds a null, EH001 where nobody in it is known.';
