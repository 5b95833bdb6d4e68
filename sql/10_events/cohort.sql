create or replace function ehr.cohort(cohort_definition_id integer) returns bigint[]
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
    is_noted constant boolean := ehrdb.note('cohort');
    found constant bigint[] := array(
        select distinct c.subject_id
          from ehrdb.cohort_row(cohort_definition_id) c
          join ehrdb.patient p on p.patient_id = c.subject_id
         order by c.subject_id);
begin
    if found = '{}' then
        raise exception using errcode = 'EH001',
            message = format('nobody of cohort %s is a patient here', cohort_definition_id),
            hint = format('See: select cohort_definition_id, count(*) from %s group by 1;',
                          ehrdb.site_table('cohort_table', 'results.cohort'));
    end if;
    return found;
end
$$;

comment on function ehr.cohort(integer) is
'The patients of an OMOP cohort, for whatever takes a cohort.
From results.cohort, or the table that the setting ehrdb.cohort_table names; each once, those that are patients here.
EH001: nobody is; EH010: there is no such table.
Example: select * from ehr.predict_cohort(''guo_los'', ehr.cohort(7));';
