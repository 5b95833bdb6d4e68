create or replace function ehr.centroid(cohort bigint[], encoder text default null) returns public.vector
language plpgsql stable parallel safe
set search_path = pg_catalog, pg_temp
as $$
declare
    is_noted constant boolean := ehrdb.note('centroid', cohort => $1);
    middle constant public.vector := ehrdb.centroid(ehrdb.encoder_id(encoder), cohort);
begin
    perform ehrdb.is_cohort(cohort);
    if middle is null then
        raise exception using errcode = 'EH004', message = 'no member of the cohort has an embedding',
            hint = 'Run `ehrdb refresh`, or check the ids: select patient_id from ehr.patient;';
    end if;
    return middle;
end
$$;

comment on function ehr.centroid(bigint[], text) is
'The mean direction of a cohort''s current embeddings: what its members have in common.
A unit vector, to search by.
EH004: nobody in the cohort has an embedding.
Example: select * from ehr.nearest_patients(ehr.centroid(array[1, 2, 3]), 5);';
